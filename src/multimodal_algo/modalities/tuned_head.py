"""AutoGluon's ``MultiModalPredictor`` behind the four calls of a head: networks fine-tuned on texts and images.

They are fitted without each third of the folds in turn, and predict it; what ships is the mean of the three, so nothing
is fitted for the out-of-fold vectors alone.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.budget import Budget
from multimodal_algo.memory import available_bytes
from multimodal_algo.modalities.head import Head, usual_answer
from multimodal_algo.recipes import Models
from multimodal_algo.task import Task

_LOG = logging.getLogger(__name__)

_LABEL = "label"
_PARTS = 3
# Of each part's rows one in ten decides when to stop.
_VALIDATION = 10
# Importing, preparing and the last validation are not counted in AutoGluon's limit.
_COUNTED_SHARE = 0.75
_MEMORY_SHARE = 0.3
_BATCH = 64
_STATE = "head.json"
_TYPES = {"text": "text", "num": "numerical", "cat": "categorical", "image": "image_bytearray"}
_NETWORKS = (("text", "hf_text"), ("image", "timm_image"), ("num", "ft_transformer"), ("cat", "ft_transformer"))
_DEFAULTS: Models = {
    "env.num_workers": 0,
    "env.num_workers_inference": 0,
    "env.per_gpu_batch_size": 32,
    "env.batch_size": 32,
    # AutoMM 1.6.3 takes the worst of several checkpoints where less is better, so only one is kept.
    "optim.top_k": 1,
    "optim.top_k_average_method": "best",
    "optim.max_epochs": 10,
    "optim.patience": 6,
    "optim.val_check_interval": 0.5,
    "data.categorical.minimum_cat_count": 2,
}
_OF_NETWORK: dict[str, Models] = {
    "hf_text": {
        "model.hf_text.pooling_mode": "mean",
        "model.hf_text.max_text_len": 256,
        "model.hf_text.text_trivial_aug_maxscale": 0.0,  # else it downloads a thesaurus
    },
    "timm_image": {"model.timm_image.max_image_num_per_column": 1},
}


class TunedHead(Head):
    """Fitted predictors whose mean is the answer.

    Parameters
    ----------
    predictors
        AutoGluon's; none where nothing could be learnt.
    usual
        Share of each class among the rows of `fit`, or their mean: float32 (n,).
    is_regression
        Whether they predict numbers.
    """

    def __init__(self, predictors: list[Any], usual: np.ndarray, is_regression: bool) -> None:
        self._predictors = predictors
        self._usual = usual
        self._is_regression = is_regression

    @classmethod
    def fit(
        cls,
        inputs: pd.DataFrame,
        targets: np.ndarray,
        folds: np.ndarray,
        *,
        task: Task,
        models: Models,
        budget: Budget,
        seed: int,
        path: Path,
    ) -> tuple[TunedHead, np.ndarray]:
        """See `Head.fit`; `models` are AutoMM's dotted hyperparameters, beside our defaults."""
        usual = usual_answer(targets, task)
        out_of_fold = np.tile(usual, (len(inputs), 1))
        predictors = []
        for part in range(_PARTS):
            inside = folds % _PARTS == part
            known = np.flatnonzero(~inside)
            share = budget.share(1, _PARTS - part)
            predictor = _fit(
                inputs, targets, known, task, models, share.remaining_s * _COUNTED_SHARE, seed, path / str(part)
            )
            if predictor is None:
                continue
            predictors.append(predictor)
            single = cls([predictor], usual, task.is_regression)
            out_of_fold[inside] = single.predict(inputs[inside])
        return cls(predictors, usual, task.is_regression), out_of_fold

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """See `Head.predict`."""
        if not self._predictors:
            return np.tile(self._usual, (len(inputs), 1))
        answers = np.zeros((len(inputs), len(self._usual)), dtype=np.float32)
        for predictor in self._predictors:
            for start in range(0, len(inputs), _BATCH):
                rows = inputs.iloc[start : start + _BATCH].reset_index(drop=True)
                answers[start : start + len(rows)] += self._answers(predictor, rows)
        return answers / len(self._predictors)

    def _answers(self, predictor: Any, rows: pd.DataFrame) -> np.ndarray:
        """As ``predict_proba`` gives them, without the Lightning trainer that it starts for every call."""
        import torch
        from scipy.special import softmax

        learner = predictor._learner
        processors = {name: found for name, found in learner._data_processors.items() if name != _LABEL}
        batch = learner.process_batch(data=rows, df_preprocessor=learner._df_preprocessor, data_processors=processors)
        has_gpu = torch.cuda.is_available()
        precision = learner._config.env.precision if has_gpu else 32
        output = learner.predict_batch(batch=batch, model=learner._model, precision=precision, num_gpus=int(has_gpu))
        logits = output["logits"].float().cpu().numpy()
        if self._is_regression:
            return np.reshape(learner._df_preprocessor.transform_prediction(logits), (-1, 1))
        answers = np.zeros((len(rows), len(self._usual)), dtype=np.float32)
        answers[:, [int(label) for label in learner.class_labels]] = softmax(logits, axis=1)
        return answers

    def save(self, directory: Path) -> None:
        """See `Head.save`."""
        directory.mkdir(parents=True, exist_ok=True)
        state = {
            "usual": self._usual.tolist(), "is_regression": self._is_regression, "predictors": len(self._predictors)
        }  # fmt: skip
        (directory / _STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
        for number, predictor in enumerate(self._predictors):
            target = directory / str(number)
            shutil.rmtree(target, ignore_errors=True)
            config = predictor._learner._config
            if "timm_image" in config.model.names:
                # It was fitted from a directory that will be gone; by name its structure is made anew.
                config.model.timm_image.checkpoint_name = _architecture(config.model.timm_image.checkpoint_name)
            _merge_lora(predictor._learner)
            with _quiet():
                predictor.save(str(target), standalone=True)

    @classmethod
    def load(cls, directory: Path) -> TunedHead:
        """See `Head.load`."""
        state = json.loads((directory / _STATE).read_text(encoding="utf-8"))
        predictors = []
        for number in range(state["predictors"]):
            with _quiet():
                predictors.append(_multimodal().load(str(directory / str(number)), verbosity=0))
        return cls(predictors, np.array(state["usual"], dtype=np.float32), state["is_regression"])


def _fit(
    inputs: pd.DataFrame,
    targets: np.ndarray,
    known: np.ndarray,
    task: Task,
    models: Models,
    time_limit: float,
    seed: int,
    path: Path,
) -> Any:
    """A predictor of the rows `known`; None where they are of one class."""
    known = _rows_that_fit(inputs, known, seed)
    labels, counts = np.unique(targets[known], return_counts=True)
    if len(labels) < 2:
        return None
    table = inputs.iloc[known].reset_index(drop=True)
    table[_LABEL] = targets[known] if task.is_regression else targets[known].astype(int)
    deciding = np.random.default_rng(seed).permutation(len(table)) % _VALIDATION == 0
    if not task.is_regression:
        # A class must not be among the deciding rows only.
        rare = labels[counts < 2 * _VALIDATION]
        deciding &= ~np.isin(targets[known], rare)
    training, tuning = table[~deciding], table[deciding]
    if tuning.empty:  # all classes are rare: every row is needed to learn from
        tuning = table.head(max(1, len(table) // _VALIDATION))
    problem_type = "regression" if task.is_regression else "binary" if len(labels) == 2 else "multiclass"
    shutil.rmtree(path, ignore_errors=True)
    with _quiet():
        predictor = _multimodal()(
            label=_LABEL,
            problem_type=problem_type,
            eval_metric="root_mean_squared_error" if task.is_regression else "log_loss",
            path=str(path),
            verbosity=0,
            enable_progress_bar=False,
        )
        predictor.fit(
            training.reset_index(drop=True),
            tuning_data=tuning.reset_index(drop=True),
            time_limit=time_limit,
            hyperparameters=_hyperparameters(inputs, models),
            column_types={
                **{column: _TYPES[_modality(column)] for column in inputs.columns},
                _LABEL: "numerical" if task.is_regression else "categorical",
            },
            seed=seed,
            standalone=True,
        )
    return predictor


def _hyperparameters(inputs: pd.DataFrame, models: Models) -> dict[str, Any]:
    import torch

    has = {_modality(column) for column in inputs.columns}
    networks = list(dict.fromkeys(network for modality, network in _NETWORKS if modality in has))
    if len(networks) > 1:
        networks.append("fusion_mlp")
    has_gpu = torch.cuda.is_available()
    wanted: dict[str, Any] = {
        "model.names": networks,
        "env.num_gpus": 1 if has_gpu else 0,
        "env.accelerator": "gpu" if has_gpu else "cpu",
        "env.precision": _precision(has_gpu=has_gpu),
        **_DEFAULTS,
    }
    for network in networks:
        wanted |= _OF_NETWORK.get(network, {})
    wanted |= models
    # AutoMM refuses the settings of a network that it does not fit.
    return {
        key: value
        for key, value in wanted.items()
        if key == "model.names" or not key.startswith("model.") or key.split(".")[1] in networks
    }


def _modality(column: str) -> str:
    return column.rsplit("_", 1)[-1]


def _rows_that_fit(inputs: pd.DataFrame, rows: np.ndarray, seed: int) -> np.ndarray:
    """As many of `rows` as memory allows: AutoMM has all in memory, and copies."""
    sample = inputs.head(1000)
    per_row = 3 * max(1, int(sample.memory_usage(deep=True, index=False).sum()) // max(1, len(sample)))
    most = max(1000, int(_MEMORY_SHARE * available_bytes() / per_row))
    if most >= len(rows):
        return rows
    _LOG.warning("fine-tuning on %d of %d rows, which is what memory allows", most, len(rows))
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _multimodal() -> Any:
    """AutoGluon's class. Importing it lets Pillow pass over truncated images, which ours must not."""
    from autogluon.multimodal import MultiModalPredictor
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    return MultiModalPredictor


def _architecture(checkpoint: str) -> str:
    config = Path(checkpoint) / "config.json"
    return str(json.loads(config.read_text(encoding="utf-8"))["architecture"]) if config.is_file() else checkpoint


def _merge_lora(learner: Any) -> None:
    """Put low-rank weights into the layers that they adapt: AutoMM cannot load them without the first checkpoint."""
    import torch
    from autogluon.multimodal.models.adaptation_layers import LoRALinear

    for parent in list(learner._model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is LoRALinear:
                plain = torch.nn.Linear(layer.in_features, layer.out_features)
                plain.weight.data = layer.weight.data + layer.lora_B.data @ layer.lora_A.data * layer.scaling
                plain.bias = layer.bias
                setattr(parent, name, plain)
    learner._config.optim.peft = None


class _quiet(warnings.catch_warnings):
    """Neither warnings nor Lightning's chatter."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        for name in ("lightning", "lightning.pytorch", "lightning.fabric", "autogluon"):
            logging.getLogger(name).setLevel(logging.ERROR)


def _precision(*, has_gpu: bool) -> str:
    """Lightning's name of the halves that a GPU has cores for: a T4 would emulate bfloat16, slowly."""
    import torch

    if not has_gpu:
        return "32"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
