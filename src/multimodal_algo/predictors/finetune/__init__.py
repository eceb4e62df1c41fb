"""Fine-tuning of networks with AutoGluon's ``MultiModalPredictor``."""
