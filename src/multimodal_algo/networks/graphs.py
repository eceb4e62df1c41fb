"""The choice of the engine that runs an ONNX graph, by the vectors that it gives."""

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
    """Return whether torch has a GPU here. Torch is imported only on a machine that has one."""
    if not find_devices().gpus:
        return False
    import torch

    return torch.cuda.is_available()


@dataclass(frozen=True)
class Probe:
    """The inputs and the vectors by which an engine is checked.

    Parameters
    ----------
    inputs
        Arrays by the names of the graph's inputs.
    expected
        Vectors by torch, float32 (rows, width).
    """

    inputs: Mapping[str, np.ndarray]
    expected: np.ndarray

    def load_graph(self, path: Path, engine: Engine, *, allows_bf16: bool, has_gpu: bool = False) -> Graph:
        """Load a graph by the fastest of the engines that `engine` stands for, and whose vectors are the expected ones.

        Parameters
        ----------
        path
            File of the graph.
        engine
            The engine. ``openvino`` computes in bfloat16 where the processor has it, the network allows it, and the
            vectors are close enough, otherwise in float32. ``auto`` does the same, but a network that allows bfloat16
            is run by ONNX Runtime where bfloat16 cannot be used: in float32 that is as fast for texts.
        allows_bf16
            Whether answers stay the same where the network computes in bfloat16.
        has_gpu
            Whether torch has a GPU here.

        Raises
        ------
        Unavailable
            The graph cannot be run here, or its vectors differ from those of the training, or torch's.
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
    """Return the functions that load the graph by the engines that `engine` stands for, the fastest first."""
    by_onnx = partial(OnnxNetwork, path, Engine.ONNX if engine is Engine.AUTO else engine, has_gpu=has_gpu)
    by_openvino = [partial(OpenVinoNetwork, path, bf16=bf16) for bf16 in (True, False)]
    if engine is Engine.OPENVINO:
        return [*by_openvino] if allows_bf16 else [by_openvino[1]]
    if engine is Engine.AUTO:
        return [by_openvino[0 if allows_bf16 else 1], by_onnx]
    return [by_onnx]
