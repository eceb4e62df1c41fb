"""The predictor of a branch with fine-tuned networks, which read texts and images. It uses ``MultiModalPredictor``.

Three networks are fitted, each without a third of the folds, and each predicts the rows of its missing third. The mean
of all three predicts new rows. So no network is fitted only for the out-of-fold predictions.
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
    """The predictor of a branch (partial model) with fine-tuned networks. Their mean prediction is the answer.

    Parameters
    ----------
    networks
        The fitted networks, three at most. If the list is empty, nothing could be learned, and every row gets the
        prior.
    prior
        Share of each class among the rows of `fit`, float32 (n,), or the mean of their numbers, float64 (1,).
    scale
        Turns predictions of standardised numbers into the original unit. None if the labels are classes.
    """

    def __init__(self, networks: list[LoadedNetwork], prior: np.ndarray, scale: TargetScale | None) -> None:
        self.networks = networks
        self._prior = prior
        self._scale = scale

    @classmethod
    def fit(
        cls, inputs: pd.DataFrame, targets: np.ndarray, folds: np.ndarray, settings: FitSettings
    ) -> tuple[FineTunedPredictor, np.ndarray]:
        """Fine-tune the networks of a branch (partial model), see `BranchPredictor.fit`.

        With a teacher, each network also learns from the predictions of one of the teacher's networks. The teacher must
        have been fitted to the same rows and folds, so that no network sees its held-out rows through the teacher. A
        teacher's network with other classes or columns is not used.

        Parameters
        ----------
        inputs, targets, folds
            See `BranchPredictor.fit`.
        settings
            Settings of the fit. Its model settings are AutoMM's dotted hyperparameters, which override our defaults.
        """
        prior = prior_of(targets, settings.task)
        scale = TargetScale.of(targets, settings.task, logarithm=settings.logarithm)
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
        """Return class probabilities or numbers for new rows, see `BranchPredictor.predict`."""
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
        """Write the networks and the prior (class shares, or the mean) into `directory`, see `BranchPredictor.save`."""
        directory.mkdir(parents=True, exist_ok=True)
        state = {**state_of(self._prior, self._scale), "predictors": len(self.networks)}
        (directory / STATE).write_text(json.dumps(state) + "\n", encoding="utf-8")
        for number, network in enumerate(self.networks):
            target = directory / str(number)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(network.directory, target)

    def save_networks(self, directory: Path) -> None:
        """Write the first fitted network's parts for texts and images, so that other jobs can start from them.

        The network for texts becomes the sentence-transformers model ``text``. The network for images becomes
        ``image/weights.safetensors`` and ``image/backbone.json``, which `ImageBackbone.resolve` reads.
        """
        for network in self.networks[:1]:
            write_networks(read_predictor(network.directory), directory)

    @classmethod
    def load(cls, directory: Path, engine: Engine = Engine.AUTO) -> FineTunedPredictor:
        """Read the predictor that `save` wrote, see `BranchPredictor.load`."""
        state = json.loads((directory / STATE).read_text(encoding="utf-8"))
        networks = [load_network(directory / str(number), engine) for number in range(state["predictors"])]
        return cls(networks, *read_state(state))
