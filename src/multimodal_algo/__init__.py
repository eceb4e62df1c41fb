"""A SageMaker algorithm: classify rows that mix text, numbers, categories and images."""

__version__ = "0.1.0"
