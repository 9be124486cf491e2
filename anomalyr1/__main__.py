"""`python -m anomalyr1`, and `accelerate launch -m anomalyr1`."""

from anomalyr1.cli import main

if __name__ == "__main__":
    main()
