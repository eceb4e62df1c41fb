"""One fit of AutoGluon's ``MultiModalPredictor``: its rows, its settings, and what an earlier start has kept of it."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from multimodal_algo.config.recipes import ModelSettings
from multimodal_algo.core.checkpointing import CheckpointStore, StopRequest
from multimodal_algo.core.memory import available_bytes
from multimodal_algo.core.task import Task
from multimodal_algo.execution.ranks import Rank
from multimodal_algo.predictors.finetune.files import multimodal, quiet, read_predictor, write_predictor

if TYPE_CHECKING:
    from multimodal_algo.predictors.finetune.ddp import Group
    from multimodal_algo.predictors.finetune.resume import Running

_LOG = logging.getLogger(__name__)

LABEL = "label"
# Of each part's rows one in ten decides when to stop.
_VALIDATION = 10
# AutoMM would return an untrained network where there is no time at all; and not the best one of a fit that goes on.
_LEAST_LIMIT_S = 1.0
_MEMORY_SHARE = 0.3
_TYPES = {"text": "text", "num": "numerical", "cat": "categorical", "image": "image_bytearray"}
_NETWORKS = (("text", "hf_text"), ("image", "timm_image"), ("num", "ft_transformer"), ("cat", "ft_transformer"))
_DEFAULTS: ModelSettings = {
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
_OF_NETWORK: dict[str, ModelSettings] = {
    "hf_text": {
        "model.hf_text.pooling_mode": "mean",
        "model.hf_text.max_text_len": 256,
        "model.hf_text.text_trivial_aug_maxscale": 0.0,  # else it downloads a thesaurus
    },
    "timm_image": {"model.timm_image.max_image_num_per_column": 1},
}


@dataclass(frozen=True)
class Fitting:
    """How each of several predictors is fitted.

    Parameters
    ----------
    task
        What is predicted.
    models
        AutoMM's dotted hyperparameters, beside our defaults.
    seed
        AutoMM's seed.
    path
        Directory for AutoMM's files; its parent's name is the model's in the log.
    keeper
        Where fitted predictors and the state of a running fit are kept; None keeps nothing.
    stop
        Whether to keep the state and end with `Stopped`.
    """

    task: Task
    models: ModelSettings
    seed: int
    path: Path
    checkpoints: CheckpointStore | None = None
    stop: StopRequest | None = None

    def predictor(
        self,
        part: int,
        inputs: pd.DataFrame,
        targets: np.ndarray,
        known: np.ndarray,
        *,
        limit_s: float,
        teacher: Any = None,
        rank: Rank | None = None,
    ) -> Any:
        """A predictor of the rows `known`, fitted now or by an earlier start; None where they are of one class.

        Several processes that call it with the same arguments, but for `rank`, fit it together, and only the first has
        it: the others return None. A step takes as many rows of all together as it takes of one process alone, or one
        of each. The first's `limit_s` counts.

        Parameters
        ----------
        part
            Its number, by which it is kept.
        inputs
            One row per target.
        targets
            Class indices, int (rows,), or numbers, float (rows,).
        known
            Positions of the rows to learn from, int (n,).
        limit_s
            Seconds, with those of earlier starts.
        teacher
            A predictor whose answers are learnt from too, or None.
        rank
            Which of several processes this is; None where it is alone. Then nothing may be kept: `checkpoints` is None.

        Raises
        ------
        Stopped
            `stop` was asked, and the state is kept.
        """
        checkpoints, name = self.checkpoints, self.path.parent.name
        if rank is not None:
            assert checkpoints is None
            from multimodal_algo.predictors.finetune.ddp import Done, Group

            with Group(rank) as group:
                try:
                    return self._fit(part, inputs, targets, known, limit_s, teacher, None, group)
                except Done:
                    return None
                finally:
                    if not rank.is_first:
                        shutil.rmtree(self._directory(part, rank), ignore_errors=True)
        if checkpoints is None:
            return self._fit(part, inputs, targets, known, limit_s, teacher, None, None)
        from multimodal_algo.predictors.finetune.resume import Running

        running = Running(checkpoints, self.stop, model=name, part=part)
        if (found := checkpoints.find(str(part))) is not None:
            running.drop()
            _LOG.info("%s: part %d taken from the checkpoint of an earlier start", name, part)
            return read_predictor(found)
        predictor = self._fit(part, inputs, targets, known, limit_s, teacher, running, None)
        if predictor is not None:
            checkpoints.keep(str(part), lambda directory: write_predictor(predictor, directory))
            running.drop()
        return predictor

    def _fit(
        self,
        part: int,
        inputs: pd.DataFrame,
        targets: np.ndarray,
        known: np.ndarray,
        limit_s: float,
        teacher: Any,
        running: Running | None,
        group: Group | None,
    ) -> Any:
        kept_rows = running.rows if running else None
        known = _rows_that_fit(inputs, known, self.seed, group) if kept_rows is None else kept_rows
        labels = np.unique(targets[known])
        if len(labels) < 2:
            return None
        is_regression, path = self.task.is_regression, self._directory(part, group.rank if group else None)
        training, tuning = self._tables(inputs, targets, known)
        shutil.rmtree(path, ignore_errors=True)
        models = dict(self.models)
        if teacher is not None:
            teacher = self._taught_by(teacher, part, labels, inputs)
        if teacher is not None:
            # AutoMM's checkpoints of a network that is both taught and adapted lack its last layer.
            models["optim.peft"] = None
        with quiet():
            predictor = multimodal()(
                label=LABEL,
                problem_type="regression" if is_regression else "binary" if len(labels) == 2 else "multiclass",
                eval_metric="root_mean_squared_error" if is_regression else "log_loss",
                path=str(path),
                verbosity=0,
                enable_progress_bar=False,
            )
            if running:
                running.watch(predictor._learner, known, seed=self.seed)
            if group:
                group.watch(predictor._learner, seed=self.seed)
            predictor.fit(
                training,
                tuning_data=tuning,
                time_limit=max(_LEAST_LIMIT_S, limit_s),
                hyperparameters=_hyperparameters(inputs, models, group.rank.size if group else None),
                column_types={
                    **{column: _TYPES[_modality(column)] for column in inputs.columns},
                    LABEL: "numerical" if is_regression else "categorical",
                },
                seed=self.seed,
                standalone=True,
                teacher_predictor=teacher,
            )
        if teacher is not None:
            predictor._learner._teacher_learner = None
        return predictor

    def _directory(self, part: int, rank: Rank | None) -> Path:
        """AutoMM's: several ranks may share a disk."""
        return self.path / (str(part) if rank is None or rank.is_first else f"{part}.rank{rank.rank}")

    def _tables(
        self, inputs: pd.DataFrame, targets: np.ndarray, known: np.ndarray
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows to learn from, and those that decide when to stop; with their labels."""
        table = inputs.iloc[known].reset_index(drop=True)
        table[LABEL] = targets[known] if self.task.is_regression else targets[known].astype(int)
        deciding = np.random.default_rng(self.seed).permutation(len(table)) % _VALIDATION == 0
        if not self.task.is_regression:
            # A class must not be among the deciding rows only.
            labels, counts = np.unique(targets[known], return_counts=True)
            deciding &= ~np.isin(targets[known], labels[counts < 2 * _VALIDATION])
        training, tuning = table[~deciding], table[deciding]
        if tuning.empty:  # all classes are rare: every row is needed to learn from
            tuning = table.head(max(1, len(table) // _VALIDATION))
        return training.reset_index(drop=True), tuning.reset_index(drop=True)

    def _taught_by(self, teacher: Any, part: int, labels: np.ndarray, inputs: pd.DataFrame) -> Any:
        """A copy of `teacher`, which AutoMM will rename parts of; None where it cannot teach these rows."""
        learner = teacher._learner
        knows = self.task.is_regression or [int(label) for label in learner.class_labels] == labels.tolist()
        if not knows or not set(learner._df_preprocessor.required_feature_names) <= set(inputs.columns):
            _LOG.warning(
                "%s: part %d is fitted without its teacher, which knows other classes or columns",
                self.path.parent.name, part,
            )  # fmt: skip
            return None
        copy = self.path / f"{part}.teacher"
        shutil.rmtree(copy, ignore_errors=True)
        write_predictor(teacher, copy)
        return read_predictor(copy)


def _hyperparameters(inputs: pd.DataFrame, models: ModelSettings, ranks: int | None) -> dict[str, Any]:
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
    # Without other processes more hosts would be waited for.
    wanted |= {"env.num_nodes": 1} if ranks is None else _of_ranks(wanted, ranks, has_gpu=has_gpu)
    # AutoMM refuses the settings of a network that it does not fit.
    return {
        key: value
        for key, value in wanted.items()
        if key == "model.names" or not key.startswith("model.") or key.split(".")[1] in networks
    }


def _of_ranks(wanted: dict[str, Any], ranks: int, *, has_gpu: bool) -> dict[str, Any]:
    """What AutoMM must be told so that the steps of `ranks` processes together are those of `wanted`.

    Each is a host to AutoMM, with one GPU or none.
    """
    most = wanted["env.per_gpu_batch_size"]
    batch = most * max(1, wanted["env.batch_size"] // most)
    share = max(1, batch // ranks)
    return {
        "env.num_nodes": ranks,
        "env.num_gpus": int(has_gpu),
        "env.accelerator": "gpu" if has_gpu else "cpu",
        "env.batch_size": batch,
        "env.per_gpu_batch_size": share // -(-share // most),
    }


def _modality(column: str) -> str:
    return column.rsplit("_", 1)[-1]


def _rows_that_fit(inputs: pd.DataFrame, rows: np.ndarray, seed: int, group: Group | None) -> np.ndarray:
    """As many of `rows` as memory allows, of every rank: AutoMM has all in memory, and copies."""
    sample = inputs.head(1000)
    per_row = 3 * max(1, int(sample.memory_usage(deep=True, index=False).sum()) // max(1, len(sample)))
    neighbours = group.rank.neighbours if group else 1
    most = max(1000, int(_MEMORY_SHARE * available_bytes() / neighbours / per_row))
    if group:
        most = group.least(most)
    if most >= len(rows):
        return rows
    _LOG.warning("fine-tuning on %d of %d rows, which is what memory allows", most, len(rows))
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _precision(*, has_gpu: bool) -> str:
    """Lightning's name of the halves that a GPU has cores for: a T4 would emulate bfloat16, slowly."""
    import torch

    if not has_gpu:
        return "32"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
