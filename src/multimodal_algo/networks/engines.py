"""How frozen networks are run: by torch, or as ONNX graphs by ONNX Runtime.

On a CPU ONNX Runtime is two to five times as fast as torch (``benchmarks/README.md`` has the figures), so it is the
usual choice there. It is optional: what is missing, or answers otherwise than torch, is passed over.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import MultimodalError

if TYPE_CHECKING:
    import torch

_OPSET = 17
_OUTPUT = "vectors"
# Vectors that differ by more do not come from the same network. Halves, as a GPU computes them, differ by a hundredth.
_TOLERANCE = 0.02
_PROVIDERS: Mapping[Engine, Sequence[str]] = {
    Engine.ONNX: ("CUDAExecutionProvider",),
    Engine.TENSORRT: ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}


class Unavailable(MultimodalError):
    """An engine that cannot be used here; the message says why."""


class OnnxNetwork:
    """A graph in ONNX Runtime.

    Parameters
    ----------
    path
        The graph.
    engine
        ``onnx`` (on a GPU if there is one) or ``tensorrt``.
    has_gpu
        Whether torch has a GPU here.

    Attributes
    ----------
    is_on_cpu
        Whether it runs on one core of the CPU.

    Raises
    ------
    Unavailable
        No ONNX Runtime, none for this device, or a graph that it does not load.
    """

    def __init__(self, path: Path, engine: Engine, *, has_gpu: bool) -> None:
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
            # Cores work at batches of their own: they need not wait for each other, nor for those that decode images.
            options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=[*wanted, "CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions have no common base
            raise Unavailable(f"onnxruntime cannot load the graph ({str(error)[:120]})") from None
        self._names = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vectors, float32 (rows, width), of arrays by the names of the graph's inputs."""
        return self._session.run(None, {name: inputs[name] for name in self._names})[0]


def spread(run: Callable[[Any], np.ndarray], batches: Sequence[Any], *, by_core: bool) -> Iterable[np.ndarray]:
    """What `run` gives for each of `batches`, in order; `by_core`: each core works at a batch of its own."""
    return _cores().map(run, batches) if by_core and len(batches) > 1 else map(run, batches)


@cache
def _cores() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="network")


def chosen(engine: Engine, *, has_gpu: bool) -> Engine:
    """What ``auto`` means on this device: ONNX Runtime on a CPU where it is installed, torch else."""
    if engine is not Engine.AUTO:
        return engine
    return Engine.TORCH if has_gpu or importlib.util.find_spec("onnxruntime") is None else Engine.ONNX


def export_onnx(network: torch.nn.Module, example: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write `network` as an ONNX graph whose first dimension (and second, of integers) may have any size.

    Raises
    ------
    Unavailable
        The package ``onnx`` is not installed, or the network cannot be exported.
    """
    import torch

    if importlib.util.find_spec("onnx") is None:
        raise Unavailable("onnx is not installed")
    axes = {name: {0: "rows", **({1: "tokens"} if value.ndim == 2 else {})} for name, value in example.items()}
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
                dynamic_axes={**axes, _OUTPUT: {0: "rows"}},
                opset_version=_OPSET,
                dynamo=False,
            )
    except Exception as error:  # of many kinds, by what the network does
        path.unlink(missing_ok=True)
        raise Unavailable(f"the network cannot be exported ({str(error).splitlines()[0][:120]})") from None


def require_equal(found: np.ndarray, expected: np.ndarray) -> None:
    """Refuse an engine whose vectors, float32 (rows, width), are not torch's.

    Raises
    ------
    Unavailable
        They differ by more than rounding does.
    """
    scale = max(float(np.abs(expected).max()), 1e-6)
    off = float(np.abs(found - expected).max()) / scale if found.shape == expected.shape else float("inf")
    if not off <= _TOLERANCE:
        raise Unavailable(f"its vectors differ from torch's (by {off:.2g} of the largest entry)")


def folded(network: torch.nn.Module) -> torch.nn.Module:
    """A copy for a CPU: normalisation folded into convolutions where its structure can be read, pixels innermost.

    Vectors stay equal up to rounding.
    """
    import torch
    from torch.fx.experimental.optimization import fuse

    fast: Any = copy.deepcopy(network).eval()
    with contextlib.suppress(Exception):  # torch.fx cannot trace every network
        fast = fuse(fast)
    return fast.to(memory_format=torch.channels_last)
