"""AutoGluon's ``MultiModalPredictor`` as the predictor of a branch: networks that are fine-tuned on texts and images.

Three networks are fitted, each without a third of the folds, and each predicts the rows of its third. The mean of the
three ships, so no network is fitted for the out-of-fold predictions alone.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.task import ProblemType, Task
from multimodal_algo.predictors.base import BranchPredictor, FitSettings, TargetScale, prior_of, read_state, state_of
from multimodal_algo.predictors.finetune.files import read_predictor, write_networks
from multimodal_algo.predictors.finetune.loaded import LoadedNetwork, load_network
from multimodal_algo.predictors.finetune.parts import STATE, PartRows, fit_parts
from multimodal_algo.predictors.inputs import Table, frame_of


class FineTunedPredictor(BranchPredictor):
    """Fine-tuned networks, whose mean prediction counts.

    Parameters
    ----------
    networks
        The parts. None of them where nothing could be learned, and then every row gets the prior.
    prior
        Share of each class among the rows of `fit`, float32 (n,), or their mean, float64 (1,).
    scale
        Scale of the numbers that they predict. None for classes.
    """

    def __init__(self, networks: list[LoadedNetwork], prior: np.ndarray, scale: TargetScale | None) -> None:
        self.networks = networks
        self._prior = prior
        self._scale = scale

    @classmethod
    def fit(
        cls, inputs: pd.DataFrame, targets: np.ndarray, folds: np.ndarray, settings: FitSettings
    ) -> tuple[FineTunedPredictor, np.ndarray]:
        """See `BranchPredictor.fit`.

        With a teacher, each network also learns from the predictions of the teacher's network of the same part. The
        teacher must have been fitted to the same rows and folds. A network that has other classes or columns does not
        teach.

        Parameters
        ----------
        inputs, targets, folds
            See `BranchPredictor.fit`.
        settings
            Settings of the fit. The model settings are AutoMM's dotted hyperparameters, which override our defaults.
        """
        prior, scale = prior_of(targets, settings.task), TargetScale.of(targets, settings.task)
        restores = settings.task.is_regression
        out_of_fold = np.tile(prior, (len(inputs), 1))
        networks = {}
        rows = PartRows(inputs, scale.standardised(targets), folds)
        for fitted in fit_parts(rows, settings):
            held_out = fitted.out_of_fold
            out_of_fold[rows.held_out(fitted.part)] = scale.restored(held_out) if restores else held_out
            networks[fitted.part] = load_network(fitted.directory, Engine.AUTO)
        ordered = [networks[part] for part in sorted(networks)]
        return cls(ordered, prior, scale if restores else None), out_of_fold

    def predict(self, inputs: Table) -> np.ndarray:
        """See `BranchPredictor.predict`."""
        if not self.networks:
            return np.tile(self._prior, (len(inputs), 1))
        problem_type: ProblemType = "multiclass" if self._scale is None else "regression"
        task = Task(problem_type, len(self._prior))
        frame = frame_of(inputs)
        total = np.zeros((len(inputs), task.outputs), dtype=np.float32)
        for network in self.networks:
            total += network.predict(frame, task)
        mean = total / len(self.networks)
        return mean if self._scale is None else self._scale.restored(mean)

    def save(self, directory: Path) -> None:
        """See `BranchPredictor.save`."""
        directory.mkdir(parents=True, exist_ok=True)
        state = {**state_of(self._prior, self._scale), "predictors": len(self.networks)}
        (directory / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
        for number, network in enumerate(self.networks):
            target = directory / str(number)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(network.directory, target)

    def save_networks(self, directory: Path) -> None:
        """Write the fine-tuned networks of the first predictor, as backbones for other tasks.

        The network for texts becomes the sentence-transformers model ``text``. The network for images becomes
        ``image/weights.safetensors`` and ``image/backbone.json``, which `ImageBackbone.resolve` takes.
        """
        for network in self.networks[:1]:
            write_networks(read_predictor(network.directory), directory)

    @classmethod
    def load(cls, directory: Path, engine: Engine = Engine.AUTO) -> FineTunedPredictor:
        """See `BranchPredictor.load`."""
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
        networks = [load_network(directory / str(number), engine) for number in range(state["predictors"])]
        return cls(networks, *read_state(state))
