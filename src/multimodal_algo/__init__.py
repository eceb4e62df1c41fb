"""A SageMaker algorithm: classify rows that mix text, numbers, categories and images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multimodal_algo.interface.cloud import CloudPredictor
    from multimodal_algo.interface.fit import fit
    from multimodal_algo.interface.model import Model, load

__version__ = "0.1.0"
__all__ = ["CloudPredictor", "Model", "__version__", "fit", "load"]


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is used, since its libraries take seconds."""
    if name in __all__:
        from multimodal_algo.core.installed import require_train

        require_train(f"multimodal_algo.{name}")
    if name == "CloudPredictor":
        from multimodal_algo.interface.cloud import CloudPredictor

        return CloudPredictor
    if name == "fit":
        from multimodal_algo.interface.fit import fit

        return fit
    if name in ("Model", "load"):
        from multimodal_algo.interface import model

        return getattr(model, name)
    raise AttributeError(f"module 'multimodal_algo' has no attribute '{name}'")
