"""Settings that a user or SageMaker gives, each declared once."""
