"""Reads the data of a channel: files become a dataset on disk, and raw cells become the inputs of models.

Serving parses, decodes and encodes the cells of requests with the same code as training.
"""
