"""Tools for a user's data: prepare, sample, score, validate."""
