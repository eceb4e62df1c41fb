"""From the votes of the branches to one calibrated prediction."""
