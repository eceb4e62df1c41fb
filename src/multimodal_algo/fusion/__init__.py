"""From the modalities' vectors to one answer: folds, fusion network, calibration."""
