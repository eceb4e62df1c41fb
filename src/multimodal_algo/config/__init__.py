"""Settings that a user or the platform gives, each declared once."""
