"""Computes the ONNX graph of a network with OpenVINO on the CPU, in bfloat16 if the processor has it.

bfloat16 has 8 bits of precision. The vectors of a text network stay close to those in float32 if only the lookup of
tokens is computed in float32. Those of an image network do not, because it has more layers. ``docs/networks.md`` has
the figures.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.networks.engines import Graph, Unavailable

_PRODUCTS = ("MatMul", "Convolution", "GroupConvolution")
_CONVERTER = "openvino.tools.ovc"


class OpenVinoNetwork(Graph):
    """A network that OpenVINO computes on the CPU. Each call takes one core.

    Parameters
    ----------
    path
        File of the ONNX graph.
    bf16
        Whether to compute in bfloat16. The steps before the first product with weights are in float32 in any case.

    Raises
    ------
    Unavailable
        OpenVINO is not installed, the processor does not have bfloat16, or the graph cannot be loaded.
    """

    is_on_cpu = True

    def __init__(self, path: Path, *, bf16: bool) -> None:
        if not path.is_file():
            raise Unavailable("the artifact has no ONNX graph")
        core = _core()
        if bf16 and not has_bf16():
            raise Unavailable("the processor does not have bfloat16")
        self.is_rounded = bf16
        self.name = f"openvino {'bf16' if bf16 else 'f32'}"
        try:
            model = core.read_model(str(path))
            self._parts = _split(model, core) if bf16 else [_compile(model, core, "f32")]
        except Exception as error:  # its exceptions have no common base
            raise Unavailable(f"openvino cannot load the graph ({str(error)[:120]})") from None
        self._of_thread = threading.local()

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the network's vectors, float32 (rows, width). `inputs` has an array for each input of the graph."""
        known: dict[str, Any] = dict(inputs)
        for part, request in zip(self._parts, self._requests(), strict=True):
            names = [entry.any_name for entry in part.inputs]
            result = request.infer({name: known[name] for name in names}, share_inputs=True, share_outputs=True)
            known[_CUT] = result[0]
        return np.array(result[0], dtype=np.float32)

    def _requests(self) -> list[Any]:
        """Return this thread's inference requests. In OpenVINO, they hold the intermediate results of one call."""
        if not hasattr(self._of_thread, "requests"):
            self._of_thread.requests = [part.create_infer_request() for part in self._parts]
        requests: list[Any] = self._of_thread.requests
        return requests


def has_bf16() -> bool:
    """Return whether the processor multiplies bfloat16 in hardware, according to OpenVINO.

    Raises
    ------
    Unavailable
        OpenVINO is not installed.
    """
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> Any:
    try:
        with _without_converter():
            import openvino
    except ImportError:
        raise Unavailable("openvino is not installed") from None
    return openvino.Core()


@contextmanager
def _without_converter() -> Iterator[None]:
    """Hide openvino's model converter while openvino is imported. The converter sends an event to Google Analytics.

    openvino works without the converter (``openvino/__init__.py`` of 2026.4), and its import takes half as long.
    """
    if _CONVERTER in sys.modules:
        yield
        return
    sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_CONVERTER]


def _compile(model: Any, core: Any, precision: str) -> Any:
    """Compile a model for calls from one thread per core."""
    cores = os.cpu_count() or 1
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": cores,
        "NUM_STREAMS": cores,
        # Other processes, and threads that decode images, are on the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(model, "CPU", settings)


_CUT = "cut"


def _split(model: Any, core: Any) -> list[Any]:
    """Compile a model in bfloat16.

    Return it in two parts: the first, up to the first product with weights, is in float32.

    The first part looks up tokens in a table that may have 6 bits with scales. Rounded to bfloat16, its numbers would
    lose more than those of any other layer.
    """
    from openvino import Model, opset13

    source = _first_entries(model)
    if source is None:
        return [_compile(model, core, "bf16")]
    first = _compile(Model([source], model.get_parameters(), "first"), core, "f32")
    middle = opset13.parameter(source.get_partial_shape(), source.get_element_type(), _CUT)
    middle.output(0).get_tensor().set_names({_CUT})
    for target in source.get_target_inputs():
        if target.get_node().get_type_name() != "Result":
            target.replace_source_output(middle.output(0))
    rest = Model(model.get_results(), [*model.get_parameters(), middle], "rest")
    return [first, _compile(rest, core, "bf16")]


def _first_entries(model: Any) -> Any:
    """Return the input of the first product with weights in a model. None if that input is a constant or no float."""
    for node in model.get_ordered_ops():
        if node.get_type_name() in _PRODUCTS:
            source = node.input(0).get_source_output()
            is_plain = source.get_node().get_type_name() not in ("Constant", "Parameter")
            return source if is_plain and source.get_element_type().is_real() else None
    return None
