"""From the platform's channels to a dataset, and from raw cells to what the models take.

Serving uses the same parsing, decoding and encoding as training.
"""
