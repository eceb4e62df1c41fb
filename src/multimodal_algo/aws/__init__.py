"""Commands and Python interface for the algorithm on SageMaker. Requests are made and checked here, and sent by boto3.

``CloudPredictor`` is the Python interface. Its code is in the folder ``interface``, and it can be imported from here.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Import ``CloudPredictor`` when it is first used, because the import of its libraries takes seconds."""
    if name == "CloudPredictor":
        import multimodal_algo

        return multimodal_algo.CloudPredictor
    raise AttributeError(f"module 'multimodal_algo.aws' has no attribute '{name}'")
