"""From predictions to masks, metrics and a report."""
