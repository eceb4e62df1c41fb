"""AutoGluon's ``MultiModalPredictor`` behind the four calls of a head: networks fine-tuned on texts and images.

They are fitted without each third of the folds in turn, and predict it; what ships is the mean of the three, so nothing
is fitted for the out-of-fold vectors alone.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.config.recipes import PARTS, ModelSettings
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import CheckpointStore, StopRequest
from multimodal_algo.core.files import move_files
from multimodal_algo.core.task import Task
from multimodal_algo.execution.protocol import Parallelism, SentDirectory, Shared, WorkItem
from multimodal_algo.execution.ranks import Rank
from multimodal_algo.predictors.finetune.files import read_predictor, write_networks, write_predictor
from multimodal_algo.predictors.finetune.fit import LABEL, Fitting
from multimodal_algo.predictors.tabular import BranchPredictor, prior_of

_LOG = logging.getLogger(__name__)

# Importing, preparing and the last validation are not counted in AutoGluon's limit.
_COUNTED_SHARE = 0.75
_BATCH = 64
_STATE = "head.json"

# Inputs, targets and folds, see `BranchPredictor.fit`.
_Rows = tuple[pd.DataFrame, np.ndarray, np.ndarray]


class FineTunedPredictor(BranchPredictor):
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

    def __init__(self, predictors: list[Any], prior: np.ndarray, is_regression: bool) -> None:
        self._predictors = predictors
        self._prior = prior
        self._is_regression = is_regression

    @classmethod
    def fit(
        cls,
        inputs: pd.DataFrame,
        targets: np.ndarray,
        folds: np.ndarray,
        *,
        task: Task,
        models: ModelSettings,
        budget: Budget,
        seed: int,
        path: Path,
        checkpoints: CheckpointStore | None = None,
        stop: StopRequest | None = None,
        parallelism: Parallelism | None = None,
        teacher: FineTunedPredictor | None = None,
    ) -> tuple[FineTunedPredictor, np.ndarray]:
        """See `BranchPredictor.fit`; `models` are AutoMM's dotted hyperparameters, beside our defaults.

        With a `teacher`, a head of the same rows and folds, each predictor also learns from the answers of the
        teacher's of the same number, where that knows the same classes and columns.
        """
        prior = prior_of(targets, task)
        out_of_fold = np.tile(prior, (len(inputs), 1))
        fitting = Fitting(task, models, seed, path, checkpoints, stop)
        # Where one of the teacher's is missing, its others have other numbers.
        teachers = teacher._predictors if teacher is not None and len(teacher._predictors) == PARTS else []
        predictors = []
        if parallelism is not None:
            kept = [None if checkpoints is None else checkpoints.find(str(part)) for part in range(PARTS)]
            limit_s = budget.remaining_s / PARTS * _COUNTED_SHARE
            tasks = _fit_parts(fitting, parallelism, (inputs, targets, folds), limit_s, kept)
            found: dict[int, Any] = {}
            for done in parallelism.executor.run(tasks, path):
                if done.value is None:
                    continue
                part = done.number
                out_of_fold[folds % PARTS == part] = done.value
                directory = kept[part] or done.directory
                if checkpoints is not None and kept[part] is None:
                    directory = checkpoints.keep(str(part), partial(move_files, done.directory))
                found[part] = read_predictor(directory)
            return cls([found[part] for part in sorted(found)], prior, task.is_regression), out_of_fold
        for part in range(PARTS):
            inside = folds % PARTS == part
            predictor = fitting.predictor(
                part,
                inputs,
                targets,
                np.flatnonzero(~inside),
                limit_s=budget.share(1, PARTS - part).remaining_s * _COUNTED_SHARE,
                teacher=teachers[part] if teachers else None,
            )
            if predictor is None:
                continue
            predictors.append(predictor)
            single = cls([predictor], prior, task.is_regression)
            out_of_fold[inside] = single.predict(inputs[inside])
        return cls(predictors, prior, task.is_regression), out_of_fold

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        """See `BranchPredictor.predict`."""
        if not self._predictors:
            return np.tile(self._prior, (len(inputs), 1))
        answers = np.zeros((len(inputs), len(self._prior)), dtype=np.float32)
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
        processors = {name: found for name, found in learner._data_processors.items() if name != LABEL}
        batch = learner.process_batch(data=rows, df_preprocessor=learner._df_preprocessor, data_processors=processors)
        has_gpu = torch.cuda.is_available()
        precision = learner._config.env.precision if has_gpu else 32
        output = learner.predict_batch(batch=batch, model=learner._model, precision=precision, num_gpus=int(has_gpu))
        logits = output["logits"].float().cpu().numpy()
        if self._is_regression:
            return np.reshape(learner._df_preprocessor.transform_prediction(logits), (-1, 1))
        answers = np.zeros((len(rows), len(self._prior)), dtype=np.float32)
        answers[:, [int(label) for label in learner.class_labels]] = softmax(logits, axis=1)
        return answers

    def save(self, directory: Path) -> None:
        """See `BranchPredictor.save`."""
        directory.mkdir(parents=True, exist_ok=True)
        state = {
            "prior": self._prior.tolist(), "is_regression": self._is_regression, "predictors": len(self._predictors)
        }  # fmt: skip
        (directory / _STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
        for number, predictor in enumerate(self._predictors):
            target = directory / str(number)
            shutil.rmtree(target, ignore_errors=True)
            write_predictor(predictor, target)

    def save_networks(self, directory: Path) -> None:
        """Write the fine-tuned networks of the first predictor, as backbones for other tasks.

        That of texts as the sentence-transformers model ``text``; that of images as ``image/weights.safetensors`` and
        ``image/backbone.json``, which `ImageBackbone.load` and `BackboneInfo` take.
        """
        for predictor in self._predictors[:1]:
            write_networks(predictor, directory)

    @classmethod
    def load(cls, directory: Path) -> FineTunedPredictor:
        """See `BranchPredictor.load`."""
        state = json.loads((directory / _STATE).read_text(encoding="utf-8"))
        predictors = [read_predictor(directory / str(number)) for number in range(state["predictors"])]
        return cls(predictors, np.array(state["prior"], dtype=np.float32), state["is_regression"])


@dataclass(frozen=True)
class FitPart:
    """The work of one predictor: leaves it in the directory, and returns what it says of the rows that it has not seen.

    Parameters
    ----------
    fitting
        How.
    rows
        Inputs, targets and folds, see `BranchPredictor.fit`.
    part
        Its number.
    limit_s
        Seconds.
    kept
        The predictor, where it is fitted already.
    """

    fitting: Fitting
    rows: Shared[_Rows]
    part: int
    limit_s: float
    kept: SentDirectory | None = None

    def __call__(self, directory: Path, rank: Rank | None = None) -> np.ndarray | None:
        """Answers, float32 (rows, n); None where nothing could be learnt, or another rank has them."""
        inputs, targets, folds = self.rows.get()
        inside = folds % PARTS == self.part
        name = self.fitting.path.parent.name
        started = time.monotonic()
        if self.kept is not None:
            _LOG.info("%s: part %d taken from the checkpoint of an earlier start", name, self.part)
            return self._answers(read_predictor(self.kept.path()), inputs[inside], targets)
        with tempfile.TemporaryDirectory(prefix="multimodal-part-") as scratch:
            models = {
                key: str(value.path()) if isinstance(value, SentDirectory) else value
                for key, value in self.fitting.models.items()
            }
            fitting = replace(self.fitting, models=models, path=Path(scratch) / name / "predictor")
            predictor = fitting.predictor(
                self.part, inputs, targets, np.flatnonzero(~inside), limit_s=self.limit_s, rank=rank
            )
            if predictor is None:
                return None
            write_predictor(predictor, directory)
            answers = self._answers(predictor, inputs[inside], targets)
        together = f", by {rank.size} processes" if rank else ""
        _LOG.info("%s: part %d, %.1f s%s", name, self.part, time.monotonic() - started, together)
        return answers

    def _answers(self, predictor: Any, inputs: pd.DataFrame, targets: np.ndarray) -> np.ndarray:
        task = self.fitting.task
        return FineTunedPredictor([predictor], prior_of(targets, task), task.is_regression).predict(inputs)


def _fit_parts(
    fitting: Fitting, parallelism: Parallelism, rows: _Rows, limit_s: float, kept: Sequence[Path | None]
) -> Iterator[WorkItem]:
    """The work of all predictors, of which some may be fitted already."""
    shared = parallelism.executor.share(rows)
    # What others do is kept when it comes here.
    fitting = replace(fitting, checkpoints=None, stop=None)
    for part, directory in enumerate(kept):
        sent = None if directory is None else SentDirectory.send(directory, parallelism.executor)
        work = FitPart(fitting, shared, part, limit_s, sent)
        ranks = parallelism.ranks if sent is None else 1
        yield WorkItem(f"{fitting.path.parent.name}, part {part}", work, wants_gpu=True, ranks=ranks)
