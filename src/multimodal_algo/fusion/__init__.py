"""The fusion: it combines the votes of all branches into one calibrated prediction."""
