"""Networks that AutoGluon's ``MultiModalPredictor`` fine-tunes."""
