"""The algorithm on SageMaker: requests are made from code, checked, and sent by boto3.

``CloudPredictor`` is the Python interface to it. It is of the folder ``interface``, and is named here too.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Take the Python interface from the package, when it is used. Its libraries take seconds."""
    if name == "CloudPredictor":
        import multimodal_algo

        return multimodal_algo.CloudPredictor
    raise AttributeError(f"module 'multimodal_algo.aws' has no attribute '{name}'")
