"""The export of a fitted ``MultiModalPredictor`` as an ONNX graph. Importing this module imports torch and AutoMM.

AutoMM 1.6.3 has ``predictor.export_onnx``, but it does not export numbers and categories, and its graph holds a second
copy of the weights. So this module exports the network itself, including the steps that turn pixels and arrays into
AutoMM's batch.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from multimodal_algo.config.automm_keys import family_of
from multimodal_algo.config.inference import Engine
from multimodal_algo.core.errors import first_line
from multimodal_algo.networks.engines import OnnxNetwork, Unavailable, export_onnx
from multimodal_algo.networks.stored import GRAPH, NetworkDescription, round_weights, share_weights
from multimodal_algo.predictors.finetune._automm_compat import (
    any_rows_traced,
    batch_of,
    columns_of,
    generators_of,
    learner_of,
    logits_of,
    merge_adaptations,
    network_of,
    output_of,
    processors_of,
)
from multimodal_algo.predictors.finetune.exported import Export
from multimodal_algo.predictors.finetune.files import networks_in
from multimodal_algo.predictors.finetune.inputs import (
    TOKENIZER,
    CategoryInput,
    NetworkInput,
    NumberInput,
    PictureInput,
    TextInput,
)
from multimodal_algo.predictors.finetune.prediction import LABEL, Outputs

_LOG = logging.getLogger(__name__)

# The outputs of both engines differ by rounding alone.
_TOLERANCE = 1e-4
_COMPARED = 8
_NORMALISATION = ("_mean", "_std")
_SQUEEZED, _CROPPED = ["resize_to_square"], ["resize_shorter_side", "center_crop"]


def round_predictor(predictor: Any, rows: pd.DataFrame) -> None:
    """Round the weights of a fitted predictor to float16, unless that changes its answers. See `round_weights`."""
    learner = learner_of(predictor)
    merge_adaptations(learner)
    compared = rows.head(_COMPARED).reset_index(drop=True)
    round_weights(network_of(learner), lambda: logits_of(learner, compared, LABEL))


def export_predictor(predictor: Any, directory: Path, rows: pd.DataFrame, name: str) -> None:
    """Write the ONNX graph of a fitted predictor and its description, if the graph gives the same answers as AutoMM.

    Parameters
    ----------
    predictor
        The fitted ``MultiModalPredictor``.
    directory
        Directory into which `write_predictor` has written the predictor.
    rows
        Rows on which the answers are compared.
    name
        Name for the log.
    """
    try:
        _export(learner_of(predictor), directory, rows.head(_COMPARED).reset_index(drop=True))
    except Unavailable as reason:
        (directory / GRAPH).unlink(missing_ok=True)
        _LOG.info("%s: served by torch and AutoMM, since %s", name, reason)


def _export(learner: Any, directory: Path, rows: pd.DataFrame) -> None:
    export = Export(inputs=tuple(_inputs(learner, directory)), outputs=Outputs.of(learner))
    network = copy.deepcopy(network_of(learner)).cpu().float().eval()
    rows = pd.concat([export.probe(), rows], ignore_index=True)
    example = export.arrays(directory, rows)
    module = _FromArrays(network, list(example), _normalisations(export.inputs))
    tensors = {key: torch.from_numpy(value[: len(export.probe())]) for key, value in example.items()}
    axes = {key: sizes for each in export.inputs for key, sizes in each.axes.items()}
    with any_rows_traced():
        export_onnx(module, tensors, axes, directory / GRAPH)
    share_weights(directory / GRAPH)
    with torch.inference_mode():
        expected = output_of(network, batch_of(learner, rows, LABEL)).numpy()
    vectors = _outputs_of_graph(directory / GRAPH, example)
    difference = float(np.abs(vectors - expected).max()) / max(1.0, float(np.abs(expected).max()))
    if not difference <= _TOLERANCE:  # False for NaN
        raise Unavailable(f"its exported network gives other answers (by {difference:.2g})")
    probe = expected[: len(export.probe())]
    NetworkDescription.of("fine-tuned", probe, export.model_dump(mode="json")).write(directory)


def _outputs_of_graph(path: Path, example: Mapping[str, np.ndarray]) -> np.ndarray:
    try:
        return OnnxNetwork(path, Engine.ONNX, has_gpu=False)(example)
    except Unavailable:
        raise
    except Exception as error:  # those of onnxruntime have no common base
        raise Unavailable(f"its exported network does not run ({first_line(error)})") from None


def _inputs(learner: Any, directory: Path) -> Iterable[NetworkInput]:
    """Yield a description of the cells that each network reads, by modality.

    Raises
    ------
    Unavailable
        A network reads cells in a way that only AutoMM can.
    """
    readers: Mapping[str, Callable[[Any, Any, Path], NetworkInput]] = {
        "text": _text_input,
        "image": _picture_input,
        "numerical": _number_input,
        "categorical": _category_input,
    }
    for modality, processors in processors_of(learner, LABEL).items():
        for processor in processors:
            if processor.requires_column_info:
                raise Unavailable("its fusion reads each column by itself")
            yield readers[modality](learner, processor, directory)


def _text_input(learner: Any, processor: Any, directory: Path) -> TextInput:
    columns, config = columns_of(learner, "text"), processor.template_config
    if processor.normalize_text or processor.stochastic_chunk or config.turn_on:
        raise Unavailable("AutoMM changes its texts before it reads them")
    if not all(column.endswith("_text") for column in columns):
        raise Unavailable("it reads numbers or categories as texts")
    if not (directory / processor.prefix / TOKENIZER).is_file():
        raise Unavailable("its tokeniser is not one of the library tokenizers")
    return TextInput(
        network=processor.prefix,
        columns=columns,
        max_tokens=processor.max_len,
        first=None if processor.eos_only else processor.cls_token_id,
        separator=processor.sep_token_id if processor.insert_sep else None,
        last=processor.eos_token_id,
        padding=processor.tokenizer.pad_token_id or 0,
        segments=processor.text_segment_num,
    )


def _picture_input(learner: Any, processor: Any, directory: Path) -> PictureInput:
    steps = list(processor.val_transforms)
    if steps not in (_SQUEEZED, _CROPPED):
        raise Unavailable(f"its val_transforms are neither {_SQUEEZED} nor {_CROPPED}")
    columns, most = columns_of(learner, "image"), processor.max_image_num_per_column
    network = next(each for each in networks_in(network_of(learner)) if each.prefix == processor.prefix)
    mixes_outputs = family_of(processor.prefix) == "timm_image" and network.mix_choice == "all_logits"
    if most > 1 and (not mixes_outputs or network.use_learnable_image):
        raise Unavailable("it mixes the images of a cell in a way that the graph does not have")
    return PictureInput(
        network=processor.prefix,
        columns=columns,
        side=processor.size,
        crops=steps == _CROPPED,
        most=most,
        mean=tuple(map(float, processor.mean)),
        std=tuple(map(float, processor.std)),
    )


def _number_input(learner: Any, processor: Any, directory: Path) -> NumberInput:
    columns, generators = columns_of(learner, "numerical"), generators_of(learner)
    steps = [generators[column].named_steps for column in columns]
    return NumberInput(
        network=processor.prefix,
        columns=columns,
        fill=tuple(float(step["imputer"].statistics_[0]) for step in steps),
        mean=tuple(0.0 if step["scaler"].mean_ is None else float(step["scaler"].mean_[0]) for step in steps),
        scale=tuple(1.0 if step["scaler"].scale_ is None else float(step["scaler"].scale_[0]) for step in steps),
    )


def _category_input(learner: Any, processor: Any, directory: Path) -> CategoryInput:
    columns, generators = columns_of(learner, "categorical"), generators_of(learner)
    values = tuple(tuple(generators[column].category_map[column]) for column in columns)
    if not all(isinstance(value, str) for each in values for value in each):
        raise Unavailable("its categories are not texts")
    return CategoryInput(network=processor.prefix, columns=columns, values=values)


def _normalisations(inputs: Sequence[NetworkInput]) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
    return {each.name("image"): (each.mean, each.std) for each in inputs if isinstance(each, PictureInput)}


class _FromArrays(torch.nn.Module):
    """AutoMM's network as a module whose arguments are plain arrays with the given `names`.

    It does two steps of AutoMM's preparation itself. Pixels, uint8 (rows, images, height, width, 3), are normalised,
    and one array of categories is split into its columns.
    """

    def __init__(
        self, network: Any, names: list[str], normalisations: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    ) -> None:
        super().__init__()
        self.network = network
        self._names = names
        for name, both in normalisations.items():
            for value, kind in zip(both, _NORMALISATION, strict=True):
                self.register_buffer(name + kind, torch.tensor(value).view(1, 1, 3, 1, 1), persistent=False)

    def forward(self, *arrays: torch.Tensor) -> torch.Tensor:
        batch = {name: self._as_automm(name, value) for name, value in zip(self._names, arrays, strict=True)}
        return output_of(self.network, batch)

    def _as_automm(self, name: str, value: torch.Tensor) -> Any:
        if value.dtype is torch.uint8:
            mean, std = (self.get_buffer(name + kind) for kind in _NORMALISATION)
            return (value.permute(0, 1, 4, 2, 3).float() / 255 - mean) / std
        return list(value.unbind(1)) if name.endswith("_categorical") else value
