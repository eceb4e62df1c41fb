"""Chooses the engine that computes an ONNX graph: the fastest one that gives the expected vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.networks.engines import Graph, OnnxNetwork, Unavailable, require_equal
from multimodal_algo.networks.openvino_network import OpenVinoNetwork
from multimodal_algo.sagemaker.devices import find_devices

_LOG = logging.getLogger(__name__)


def torch_has_gpu() -> bool:
    """Return whether torch has a GPU here. Torch is only imported if the machine has a GPU."""
    if not find_devices().gpus:
        return False
    import torch

    return torch.cuda.is_available()


@dataclass(frozen=True)
class Probe:
    """A few inputs of a network with their expected vectors, with which an engine is checked.

    Parameters
    ----------
    inputs
        An array for each input of the graph.
    expected
        The vectors that torch computes, float32 (rows, width).
    """

    inputs: Mapping[str, np.ndarray]
    expected: np.ndarray

    def load_graph(self, path: Path, engine: Engine, *, allows_bf16: bool, has_gpu: bool = False) -> Graph:
        """Load an ONNX graph with the fastest allowed engine that computes the expected vectors.

        Parameters
        ----------
        path
            File of the graph.
        engine
            The engine. ``openvino`` computes in bfloat16 if the processor has it, the network allows it, and the
            vectors are close enough. Otherwise it computes in float32. ``auto`` is OpenVINO too. Only for a network
            that allows bfloat16, on a processor that cannot use it, is it ONNX Runtime, which is as fast in float32.
        allows_bf16
            Whether predictions stay the same if the network computes in bfloat16.
        has_gpu
            Whether torch has a GPU here.

        Raises
        ------
        Unavailable
            No allowed engine can compute the graph here, or the vectors differ from the expected ones.
        """
        *first, last = _ways(path, engine, allows_bf16=allows_bf16, has_gpu=has_gpu)
        for make in first:
            try:
                return self._checked(make())
            except Unavailable as reason:
                _LOG.debug("%s: %s", path, reason)
        return self._checked(last())

    def _checked(self, graph: Graph) -> Graph:
        require_equal(graph(self.inputs), self.expected)
        return graph


def _ways(path: Path, engine: Engine, *, allows_bf16: bool, has_gpu: bool) -> list[Callable[[], Graph]]:
    """Return the functions that load the graph, one for each engine that `engine` allows, the fastest first."""
    by_onnx = partial(OnnxNetwork, path, Engine.ONNX if engine is Engine.AUTO else engine, has_gpu=has_gpu)
    by_openvino = [partial(OpenVinoNetwork, path, bf16=bf16) for bf16 in (True, False)]
    if engine is Engine.OPENVINO:
        return [*by_openvino] if allows_bf16 else [by_openvino[1]]
    if engine is Engine.AUTO:
        return [by_openvino[0 if allows_bf16 else 1], by_onnx]
    return [by_onnx]
