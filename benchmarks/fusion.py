"""Time and held-out loss of the fusion on generated votes.

::

    python benchmarks/fusion.py --classes 19 --branches 5 --rows 4800 --missing 0.1
    python benchmarks/fusion.py --all --append benchmarks/results.jsonl

A case is a number of classes, branches (5 or 8) and rows, and the share of the cells of each modality that are
missing. Each modality draws a point near that of its class, with more noise in some rows than in others. A branch
gives a class the likelihood of its points, by class points that it knows roughly, and is too sure or too cautious.
``--all`` runs the cases of ``CASES``.

The figures of a case: seconds on the clock and of the processors, the way to combine that was chosen, the log-loss of
4,000 new rows with the same share of missing cells (``log_loss``), and that of the same rows with one modality emptied
in turn (``emptied``). Another commit is measured with ``PYTHONPATH``, alternately because other work on the machine
changes the seconds. Prints a JSON line for each case. ``--append FILE`` keeps them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.special import softmax

from multimodal_algo.core.budget import Budget
from multimodal_algo.core.task import Task
from multimodal_algo.fusion.calibration import log_loss
from multimodal_algo.fusion.fit import FusionSettings, fit_fusion
from multimodal_algo.fusion.folds import OutOfFold, stratified_folds
from multimodal_algo.fusion.fusion import Fusion
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.fusion.votes import Votes

CASES = [
    (2, 5, 1_000, 0.0), (2, 8, 50_000, 0.1), (19, 5, 1_000, 0.4), (19, 5, 4_800, 0.0), (19, 5, 4_800, 0.1),
    (19, 8, 50_000, 0.1), (200, 5, 10_000, 0.0), (200, 5, 10_000, 0.1), (1_000, 5, 10_000, 0.0),
    (1_000, 5, 10_000, 0.1), (1_000, 8, 50_000, 0.1),
]  # fmt: skip
COLUMNS = {
    "text": ("text",),
    "num": ("num",),
    "cat": ("cat",),
    "table": ("num", "cat"),
    "joint": ("text", "num", "cat"),
}
MORE_COLUMNS = {
    "img/front": ("front",),
    "img/back": ("back",),
    "text_tuned": ("text",),
}
# How far apart the classes lie in each modality, and how sure each branch is for what it knows.
DISTANCE = {"text": 1.1, "num": 0.45, "cat": 0.6, "front": 0.8, "back": 0.5}
SURE = {"text": 1.4, "num": 0.8, "cat": 1.0, "table": 1.3, "joint": 1.2, "img/front": 1.5, "img/back": 0.7}
NEW_ROWS, FOLDS = 4_000, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--branches", type=int, choices=[5, 8], default=5)
    parser.add_argument("--rows", type=int, default=4_800)
    parser.add_argument("--missing", type=float, default=0.0)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--append", type=Path)
    arguments = parser.parse_args()
    one = (arguments.classes, arguments.branches, arguments.rows, arguments.missing)
    warm_up()
    for case in CASES if arguments.all else [one]:
        line = json.dumps(measure(*case, seed=arguments.seed))
        print(line, flush=True)
        if arguments.append:
            with arguments.append.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")


def warm_up() -> None:
    """Import and start what the first fit of a process needs, so that it does not count."""
    measure(3, 5, 200, 0.0, seed=0)


def measure(classes: int, branches: int, rows: int, missing: float, *, seed: int) -> dict[str, object]:
    """Fit a fusion to the votes of one case, and return its figures."""
    columns = COLUMNS if branches == 5 else {**COLUMNS, **MORE_COLUMNS}
    world = World(classes, columns, seed)
    folds_of, known, labels = world.training(rows, missing)
    started, cpu = time.monotonic(), cpu_s()
    fusion, held_out, choice = fit_fusion(
        OutOfFold(known, labels, folds_of),
        columns,
        selector=Selector(Task.of_classes(classes), "log_loss"),
        settings=FusionSettings(max_epochs=50, seed=seed),
        budget=Budget.starting_now(3600),
    )
    seconds, cpu = time.monotonic() - started, cpu_s() - cpu
    truth = world.labels(NEW_ROWS)
    points, speaks = world.points(truth), world.present(NEW_ROWS, missing)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "benchmark": "fusion",
        "case": {"classes": classes, "branches": branches, "rows": rows, "missing": missing, "seed": seed},
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu, 2),
        "chosen": choice.chosen,
        "out_of_fold": round(log_loss(np.log(held_out + 1e-9), labels), 4),
        "log_loss": round(loss_of(fusion, world.votes(points, speaks, fold=FOLDS), truth), 4),
        "emptied": {
            name: round(loss_of(fusion, world.votes(points, {**speaks, name: speaks[name] & False}, FOLDS), truth), 4)
            for name in world.modalities
        },
    }


def cpu_s() -> float:
    """Return the seconds of the processors that this process has used."""
    times = os.times()
    return times.user + times.system


def loss_of(fusion: Fusion, votes: Votes, truth: np.ndarray) -> float:
    """Return the log-loss for new rows."""
    return log_loss(np.log(fusion.predict(votes) + 1e-9), truth)


@dataclass
class World:
    """Classes with a point in each modality, and branches that know these points roughly."""

    classes: int
    columns: dict[str, tuple[str, ...]]
    seed: int

    def __post_init__(self) -> None:
        self.generator = np.random.default_rng(self.seed)
        self.modalities = list(dict.fromkeys(name for own in self.columns.values() for name in own))
        shares = 1.0 / np.arange(1, self.classes + 1) ** 0.5
        self.prior = self.generator.permutation(shares / shares.sum())
        self.dimensions = 8 if self.classes < 100 else 24
        self.centers = {
            name: DISTANCE[name] * self.generator.normal(size=(self.classes, self.dimensions))
            for name in self.modalities
        }
        # A part of what a branch does not know is the same in all folds. The rest differs by fold.
        self.known = {
            (branch, name): center + 0.25 * DISTANCE[name] * self.generator.normal(size=center.shape)
            for branch, own in self.columns.items()
            for name, center in self.centers.items()
            if name in own
        }

    def labels(self, rows: int) -> np.ndarray:
        """Draw labels."""
        return self.generator.choice(self.classes, rows, p=self.prior)

    def points(self, labels: np.ndarray) -> dict[str, np.ndarray]:
        """Draw the point of each row in each modality, (rows, dimensions)."""
        points = {}
        for name, center in self.centers.items():
            noise = self.generator.choice([0.6, 1.0, 1.7], size=(len(labels), 1))
            points[name] = center[labels] + noise * self.generator.normal(size=(len(labels), self.dimensions))
        return points

    def present(self, rows: int, missing: float) -> dict[str, np.ndarray]:
        """Draw which rows have each modality, bool (rows,)."""
        return {name: self.generator.random(rows) >= missing for name in self.modalities}

    def training(self, rows: int, missing: float) -> tuple[np.ndarray, Votes, np.ndarray]:
        """Draw rows: their folds, out-of-fold votes and labels."""
        labels = self.labels(rows)
        folds = stratified_folds(labels, FOLDS, seed=self.seed)
        points, present = self.points(labels), self.present(rows, missing)
        array = np.empty((rows, len(self.columns), self.classes + 1), dtype=np.float32)
        for fold in range(FOLDS):
            inside = folds == fold
            own = {name: each[inside] for name, each in present.items()}
            array[inside] = self.votes({name: each[inside] for name, each in points.items()}, own, fold).array
        return folds, Votes(array), labels

    def votes(self, points: dict[str, np.ndarray], present: dict[str, np.ndarray], fold: int) -> Votes:
        """Return the votes of the branches for rows, by what they know in one fold."""
        return Votes.stack([self._vote(branch, points, present, fold) for branch in self.columns])

    def _vote(
        self, branch: str, points: dict[str, np.ndarray], present: dict[str, np.ndarray], fold: int
    ) -> np.ndarray:
        own = self.columns[branch]
        scores = np.tile(np.log(self.prior), (len(points[own[0]]), 1))
        errors = np.random.default_rng([self.seed, fold, *branch.encode()])
        for name in own:
            known = self.known[branch, name]
            known = known + 0.15 * DISTANCE[name] * errors.normal(size=known.shape)
            likelihoods = points[name] @ known.T - 0.5 * (known**2).sum(axis=1)
            scores += np.where(present[name][:, None], likelihoods, 0.0)
        speaks = sum(present[name].astype(int) for name in own) >= min(2, len(own))
        vector = np.zeros((len(scores), self.classes + 1), dtype=np.float32)
        vector[:, :-1] = softmax(SURE.get(branch, 1.0) * scores, axis=1) * speaks[:, None]
        vector[:, -1] = ~speaks
        return vector


if __name__ == "__main__":
    main()
