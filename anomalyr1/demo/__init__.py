"""A page in the browser that asks an inspector: `anomalyr1 demo`."""
