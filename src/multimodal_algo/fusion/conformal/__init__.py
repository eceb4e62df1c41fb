"""Prediction sets and intervals that hold the truth of new rows with a chosen probability."""
