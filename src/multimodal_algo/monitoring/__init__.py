"""Sketches of the training rows, and the comparison of new rows with these sketches."""
