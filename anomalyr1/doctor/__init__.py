"""`anomalyr1 doctor`: what this machine has, what a config asks of it, and what is in the way."""
