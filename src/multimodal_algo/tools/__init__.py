"""Tools for the data of a job: prepare, sample, score, validate."""
