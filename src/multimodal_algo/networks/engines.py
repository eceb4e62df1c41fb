"""The engines that compute frozen networks: torch, and ONNX Runtime and OpenVINO for ONNX graphs.

On a CPU ONNX Runtime is two to five times as fast as torch, and OpenVINO up to three times as fast as ONNX Runtime
(``docs/networks.md`` and ``benchmarks/README.md`` have the figures). Both are optional. Torch takes over if they are
missing, or if their vectors differ from torch's.
"""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import MultimodalError, first_line
from multimodal_algo.networks.stored import share_of_largest

if TYPE_CHECKING:
    import torch

# Since version 1.31 ONNX Runtime sends data about its use to its maker, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_OPSET = 17
_OUTPUT = "vectors"
TOLERANCE = 0.02
"""The largest difference of vectors, as a share of the largest entry.

Vectors that differ by more do not come from the same network. On a GPU torch computes in half precision, which makes a
difference of one hundredth. So does bfloat16 in text networks.
"""
_PROVIDERS: Mapping[Engine, Sequence[str]] = {
    Engine.ONNX: ("CUDAExecutionProvider",),
    Engine.TENSORRT: ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}


class Unavailable(MultimodalError):
    """Raised if an engine cannot be used here. The message is the reason, as part of a sentence."""


class Graph(Protocol):
    """An ONNX graph of a network, loaded by an engine.

    Attributes
    ----------
    name
        Name of the engine, for the log and the description of a network.
    is_on_cpu
        Whether each call runs on one core of the CPU.
    is_rounded
        Whether the engine rounds so much that the vector of a text depends on its padding.
    """

    name: str
    is_on_cpu: bool
    is_rounded: bool

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the network's vectors, float32 (rows, width). `inputs` has an array for each input of the graph."""


class OnnxNetwork(Graph):
    """A network that ONNX Runtime computes.

    Parameters
    ----------
    path
        File of the ONNX graph.
    engine
        ``onnx``, which uses a GPU if there is one, or ``tensorrt``.
    has_gpu
        Whether torch has a GPU here.

    Raises
    ------
    Unavailable
        ONNX Runtime is not installed, does not support the device, or cannot load the graph.
    """

    is_rounded = False

    def __init__(self, path: Path, engine: Engine, *, has_gpu: bool) -> None:
        self.name = engine.value
        if not path.is_file():
            raise Unavailable("the artifact has no ONNX graph")
        try:
            import onnxruntime
        except ImportError:
            raise Unavailable("onnxruntime is not installed") from None
        self.is_on_cpu = not has_gpu and engine is not Engine.TENSORRT
        wanted = () if self.is_on_cpu else _PROVIDERS[engine]
        if wanted and wanted[0] not in onnxruntime.get_available_providers():
            raise Unavailable(f"the installed onnxruntime has no {wanted[0]}")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self.is_on_cpu:
            # Each core runs a batch of its own, so it waits neither for other cores nor for threads that decode images.
            options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=[*wanted, "CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base
            raise Unavailable(f"onnxruntime cannot load the graph ({str(error)[:120]})") from None
        self._names = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the network's vectors, float32 (rows, width). `inputs` has an array for each input of the graph."""
        return self._session.run(None, {name: inputs[name] for name in self._names})[0]


def run_batches(run: Callable[[Any], np.ndarray], batches: Sequence[Any], *, by_core: bool) -> Iterable[np.ndarray]:
    """Return the result of `run` for each of `batches`, in order. With `by_core`, each core computes another batch."""
    return _cores().map(run, batches) if by_core and len(batches) > 1 else map(run, batches)


@cache
def _cores() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="network")


def choose_engine(engine: Engine, *, has_gpu: bool) -> Engine:
    """Return the engine that ``auto`` means: torch on a GPU, and torch if no engine for ONNX graphs is installed.

    In other cases return `engine` unchanged.
    """
    has_engine = any(importlib.util.find_spec(module) for module in ("openvino", "onnxruntime"))
    return Engine.TORCH if engine is Engine.AUTO and (has_gpu or not has_engine) else engine


def export_onnx(
    network: torch.nn.Module, example: Mapping[str, torch.Tensor], axes: Mapping[str, Mapping[int, str]], path: Path
) -> None:
    """Write `network` as an ONNX graph that takes any number of rows.

    Every weight is written unchanged. ONNX Runtime combines constants when it loads the graph, so that is not done
    here.

    Parameters
    ----------
    network
        Network on the CPU, in evaluation mode.
    example
        Inputs by their names, in the order of the network's arguments.
    axes
        For each input, names for the dimensions whose size is not fixed. The first dimension is the number of rows.
    path
        File for the graph. Its directory is made when missing.

    Raises
    ------
    Unavailable
        The package ``onnx`` is not installed, or the network cannot be exported.
    """
    import torch

    if importlib.util.find_spec("onnx") is None:
        raise Unavailable("onnx is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            torch.inference_mode(False),
            torch.no_grad(),
        ):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                tuple(example.values()),
                str(path),
                input_names=list(example),
                output_names=[_OUTPUT],
                dynamic_axes={**{name: dict(sizes) for name, sizes in axes.items()}, _OUTPUT: {0: "rows"}},
                opset_version=_OPSET,
                do_constant_folding=False,
                # The default folds normalisation into convolutions. The network is in evaluation mode in any case.
                training=torch.onnx.TrainingMode.PRESERVE,
                dynamo=False,
            )
    except Exception as error:  # the exporter raises exceptions of many kinds
        path.unlink(missing_ok=True)
        raise Unavailable(f"the network cannot be exported ({first_line(error)})") from None


def require_equal(vectors: np.ndarray, expected: np.ndarray) -> None:
    """Raise an error if an engine's vectors differ from the expected vectors, both float32 (rows, width).

    Raises
    ------
    Unavailable
        The vectors differ by more than rounding errors.
    """
    difference = share_of_largest(vectors, expected)
    if not difference <= TOLERANCE:  # False for NaN
        raise Unavailable(f"its vectors differ from those of the training (by {difference:.2g} of the largest entry)")


def optimise_for_cpu(network: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of an image network that torch computes faster on a CPU. Its vectors are equal up to rounding.

    Normalisation layers are merged into convolutions, if torch.fx can trace the network. Memory holds the channels of a
    pixel next to each other.
    """
    import torch
    from torch.fx.experimental.optimization import fuse

    fast: Any = copy.deepcopy(network).eval()
    with contextlib.suppress(Exception):  # torch.fx cannot trace every network
        fast = fuse(fast)
    return fast.to(memory_format=torch.channels_last)
