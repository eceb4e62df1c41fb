"""A frozen network as files in a directory. Torch and ONNX Runtime read the same file of weights.

::

    network.json        the description, with vectors by which an engine is checked
    *.safetensors       the weights. In float16 where this changes none of them, which `round_weights` provides for
    network.onnx        the graph, if the network could be exported. It refers to the weights by file and position

A safetensors file is a header in JSON, and then the bytes of each tensor. ONNX can refer to such bytes as "external
data". See `decision 18 <docs/decisions/018-each-network-once.md>`_.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from multimodal_algo.core.errors import UserError

if TYPE_CHECKING:
    import torch

DESCRIPTION = "network.json"
GRAPH = "network.onnx"
"""The network as an ONNX graph, which refers to the weights next to it, if it could be exported."""
# Smaller tensors, such as biases, stay float32 and in the graph: they have less than a hundredth of all bytes.
_SMALL = 1024
_PROBE_DIGITS = 7
# The largest difference of vectors by rounded weights, as a share of the largest entry. Decision 18 has examples.
_MOST_ROUNDING = 0.01


class NetworkDescription(BaseModel):
    """The description of a network's directory, with known vectors to check engines.

    ``kind`` is the class that reads the directory. ``width`` is the number of entries of a vector. ``probe`` has
    torch's vectors of the cells of `Backbone._probe`. ``settings`` depend on the kind. ``engine`` is the engine that
    training has used, and ``trained`` has its vectors of the same cells. ``trained`` is empty if the engine is torch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    width: int
    probe: tuple[tuple[float, ...], ...]
    settings: dict[str, Any] = {}
    engine: str = "torch"
    trained: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, kind: str, vectors: np.ndarray, settings: Mapping[str, Any]) -> NetworkDescription:
        """Make the description of a network.

        `vectors` are torch's vectors of the probe cells, float32 (cells, width).
        """
        return cls(kind=kind, width=vectors.shape[1], probe=_rounded(vectors), settings=dict(settings))

    def trained_by(self, engine: str, vectors: np.ndarray) -> NetworkDescription:
        """Return a copy that names the engine of the training. `vectors` are its vectors of the probe cells."""
        return self.model_copy(update={"engine": engine, "trained": _rounded(vectors)})

    @property
    def vectors(self) -> np.ndarray:
        """The probe cells' vectors, computed by torch, float32 (cells, width).

        The probe cells are a few fixed texts or images.
        """
        return np.asarray(self.probe, dtype=np.float32)

    @property
    def trained_vectors(self) -> np.ndarray:
        """The probe cells' vectors, computed by the engine that training has used, float32 (cells, width)."""
        return np.asarray(self.trained or self.probe, dtype=np.float32)

    def write(self, directory: Path) -> None:
        """Write the description into the network's directory."""
        (directory / DESCRIPTION).write_text(self.model_dump_json() + "\n", encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> NetworkDescription:
        """Read the description of a network from its directory.

        Raises
        ------
        UserError
            The file is missing, or is not a description.
        """
        path = directory / DESCRIPTION
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, ValidationError) as error:
            reason = str(error).replace("\n", " ")[:120]
            raise UserError(
                f"{path}: this file cannot be read as the description of a network ({reason}). "
                "Download the artifact again, or train again."
            ) from None


def _rounded(vectors: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.{_PROBE_DIGITS}g}") for value in vector) for vector in vectors)


def round_weights(network: torch.nn.Module, vectors: Callable[[], np.ndarray]) -> float | None:
    """Round the large weights of a network to float16, which halves its file. Undo this if its vectors change too much.

    Parameters
    ----------
    network
        Network whose weights are changed in place. Weights that are not floating-point numbers stay as they are.
    vectors
        Function that returns the vectors of a few cells, computed with the present weights.

    Returns
    -------
    float or None
        Largest change of the vectors, as a share of the largest entry. None if the network keeps its weights, because a
        weight is too large for float16, or because the vectors change by more than 0.01.
    """
    import torch

    tensors = [value for value in network.state_dict().values() if _is_large(value) and value.dtype is torch.float32]
    rounded = [value.half().float() for value in tensors]
    if not all(bool(torch.isfinite(value).all()) for value in rounded):
        return None
    expected = vectors()
    before = [value.clone() for value in tensors]
    _assign(tensors, rounded)
    difference = share_of_largest(vectors(), expected)
    if difference <= _MOST_ROUNDING:  # False for NaN
        return difference
    _assign(tensors, before)
    return None


def _assign(tensors: list[torch.Tensor], values: list[torch.Tensor]) -> None:
    import torch

    with torch.no_grad():
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)


def share_of_largest(vectors: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference between two arrays of vectors, divided by the largest entry of `expected`."""
    if vectors.shape != expected.shape:
        return float("inf")
    return float(np.abs(vectors - expected).max()) / max(float(np.abs(expected).max()), 1e-6)


def _is_large(tensor: torch.Tensor) -> bool:
    return tensor.ndim > 1 and tensor.numel() >= _SMALL


def write_weights(state: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write weights by name as safetensors. Weights that float16 holds exactly are written in float16."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    narrow = {name: _narrow(value.detach().cpu()).contiguous().clone() for name, value in state.items()}
    save_file(narrow, path, metadata)
    path.chmod(0o644)  # safetensors lets only the owner read it


def _narrow(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    if not (_is_large(tensor) and tensor.dtype is torch.float32):
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def share_weights(graph: Path) -> None:
    """Make an ONNX graph use the weights in the safetensors files below its directory, instead of own copies.

    The graph converts float16 weights to float32. ONNX Runtime does this once, when it loads the graph. Weights that
    are in none of the files stay in the graph.
    """
    import onnx

    stored = {_digest(tensor.values): tensor for tensor in _tensors_below(graph.parent)}
    model = onnx.load(graph)
    casts = []
    for initializer in model.graph.initializer:
        if len(initializer.raw_data) < _SMALL:
            continue
        tensor = stored.get(_digest(onnx.numpy_helper.to_array(initializer)))
        if tensor is None:
            continue
        is_cast = initializer.data_type == onnx.TensorProto.FLOAT and tensor.dtype == "F16"
        _refer(initializer, tensor, graph.parent)
        if is_cast:
            name = initializer.name
            initializer.name = f"{name}.float16"
            initializer.data_type = onnx.TensorProto.FLOAT16
            casts.append(onnx.helper.make_node("Cast", [initializer.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, graph)


def _refer(initializer: Any, tensor: _StoredTensor, directory: Path) -> None:
    import onnx

    initializer.ClearField("raw_data")
    initializer.data_location = onnx.TensorProto.EXTERNAL
    place = {
        "location": tensor.path.relative_to(directory).as_posix(),
        "offset": str(tensor.offset),
        "length": str(tensor.length),
    }
    for key, value in place.items():
        initializer.external_data.add(key=key, value=value)


@dataclass(frozen=True)
class _StoredTensor:
    path: Path
    dtype: str
    offset: int
    length: int
    values: np.ndarray


_DTYPES: Mapping[str, Any] = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


def _tensors_below(directory: Path) -> Iterator[_StoredTensor]:
    """Yield the tensors of all safetensors files below a directory. Those in float16 are also yielded in float32.

    A graph may have either.
    """
    for path in sorted(directory.rglob("*.safetensors")):
        content = np.memmap(path, mode="r")
        start = 8 + struct.unpack("<Q", content[:8].tobytes())[0]
        for name, entry in json.loads(content[8:start].tobytes()).items():
            if name == "__metadata__" or (dtype := _DTYPES.get(entry["dtype"])) is None:
                continue
            begin, end = entry["data_offsets"]
            values = content[start + begin : start + end].view(dtype).reshape(entry["shape"])
            stored = _StoredTensor(path, entry["dtype"], start + begin, end - begin, values)
            yield stored
            if entry["dtype"] == "F16":
                yield replace(stored, values=values.astype(np.float32))


def _digest(values: np.ndarray) -> bytes:
    """Return a hash of an array's type, shape and values, to find equal arrays."""
    digest = hashlib.sha256(f"{values.dtype} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.digest()
