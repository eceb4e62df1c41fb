"""Reading: a channel becomes a dataset, and raw cells become the inputs of the models.

Serving parses, decodes and encodes cells with the same code as training.
"""
