"""Sketches of the training rows, and what differs in new rows."""
