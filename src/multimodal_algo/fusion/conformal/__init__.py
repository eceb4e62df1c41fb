"""Prediction sets and intervals, which contain the true label of a new row with a chosen probability."""
