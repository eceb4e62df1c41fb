"""Reads state dicts: files with the weights of a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multimodal_algo.core.errors import UserError

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
"""Endings of files that hold state dicts."""
# Training programs save a state dict next to the state of their optimiser, under one of these keys.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def read_state_dict(path: Path) -> dict[str, Any]:
    """Return the weights in a file of safetensors or torch, by name. Code in the file is not run.

    Raises
    ------
    UserError
        The file does not hold weights.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"image_backbone: '{path}' cannot be read as weights ({type(error).__name__}).") from None
    for key in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state or not all(hasattr(value, "shape") for value in state.values()):
        raise UserError(f"image_backbone: '{path}' does not hold a state dict. Save the network's state_dict().")
    # Data-parallel training puts this before every name.
    return {key.removeprefix("module."): value for key, value in state.items()}


def shapes(state: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight, by name."""
    return {key: tuple(value.shape) for key, value in state.items()}
