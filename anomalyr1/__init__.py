"""AnomalyR1: a reasoning vision-language policy for industrial anomaly detection."""

__version__ = "0.1.0"
