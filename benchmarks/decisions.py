"""Promises of thresholds: how often they are broken, and what they cost.

::

    python benchmarks/decisions.py --draws 400 --append benchmarks/results.jsonl
    python benchmarks/decisions.py --job job/ --test test.csv --append benchmarks/results.jsonl

Without a job, held-out rows are drawn from known distributions, a threshold is chosen on each draw, and its true
precision, recall or accuracy is computed. ``promised`` is the share of draws whose rows allow the promise, ``broken``
the share of draws that make it and break it, which should be at most 0.05. ``price`` is the mean recall of a promised
precision, the precision of a promised recall, or the share of rows answered with a promised accuracy. ``best`` is what
somebody who knows the distribution would get. Scores are calibrated, too sure, too cautious, or not monotone: their
greatest values are wrong as often as middle ones.

With a job, promises are chosen as inference does it, from what the artifact holds, for every class, and for accuracies.
They are counted on labelled rows that the job did not have. ``below`` counts promises whose share is below the promised
one there, and ``refuted`` those where this is more than chance explains (exact binomial test, 5 %).

Prints a line for each case. ``--append FILE`` adds JSON lines, of draws those over all distributions.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import bdtr, expit, logit

from multimodal_algo.core.aims import Aim, AimKind
from multimodal_algo.core.promises import ChosenThreshold, choose_threshold, share_of_right
from multimodal_algo.core.threshold_curve import ThresholdCurve

ROWS = (300, 1_000, 5_000)
TRUTH_ROWS = 1_000_000
LEVELS = {AimKind.PRECISION: (0.8, 0.9, 0.95), AimKind.RECALL: (0.8, 0.9)}
ACCURACIES = (0.9, 0.95, 0.98)
Draw = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class World:
    """A distribution of the scores of a class.

    Parameters
    ----------
    share
        Share of the rows that are of the class.
    distance
        Distance of the class from the rest, in standard deviations of both.
    sureness
        Factor of the logits of calibrated probabilities. 0 stands for scores that are not monotone.
    """

    share: float
    distance: float
    sureness: float

    def draw(self, rows: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores of rows, float (rows,), and whether each is of the class, bool (rows,)."""
        is_class = generator.random(rows) < self.share
        points = generator.normal(is_class * self.distance, 1.0)
        logits = self.distance * points - self.distance**2 / 2 + logit(self.share)
        if self.sureness:
            return expit(self.sureness * logits), is_class
        # The greatest 1 % of scores of the rest are swapped with those of the surest rows of the class.
        wrong = ~is_class & (generator.random(rows) < 0.004)
        return np.where(wrong, 0.97 + 0.03 * generator.random(rows), expit(logits)), is_class


WORLDS = [
    World(share, distance, sureness)
    for share, distance in ((0.05, 2.5), (0.05, 3.5), (0.3, 2.0))
    for sureness in (1.0, 0.5, 2.0, 0.0)
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", type=Path, help="folder of a job, or its model.tar.gz")
    parser.add_argument("--test", type=Path, help="labelled rows that the job did not have")
    parser.add_argument("--append", type=Path)
    arguments = parser.parse_args()
    if arguments.job:
        lines = list(of_job(arguments.job, arguments.test))
    else:
        lines = summaries(of_draws(arguments.draws, np.random.default_rng(arguments.seed)))
    for line in lines:
        show(line)
        if arguments.append:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            record = {"benchmark": "decisions", "date": now, "machine": platform.machine(), **line}
            with arguments.append.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")


def show(line: dict[str, Any]) -> None:
    print("  ".join(f"{name} {value}" for name, value in line.items()), flush=True)


def summaries(cases: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Show the figures of each case, and return those over all distributions, by promise and number of rows."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for case in cases:
        show(case)
        groups.setdefault((case["promise"], case["rows"]), []).append(case)
    return [
        {
            "promise": promise,
            "rows": rows,
            "distributions": len(group),
            "draws": sum(case["draws"] for case in group),
            "promised": round(float(np.mean([case["promised"] for case in group])), 4),
            "broken": round(float(np.mean([case["broken"] for case in group])), 4),
            "most_broken": max(case["broken"] for case in group),
        }
        for (promise, rows), group in groups.items()
    ]


def of_draws(draws: int, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield the figures of each distribution, number of rows and promise."""
    for world in WORLDS:
        scores, is_class = world.draw(TRUTH_ROWS, generator)
        truth = ThresholdCurve.of(scores, is_class, int(is_class.sum()), most=TRUTH_ROWS)
        sure, is_right = answered(scores, is_class)
        answers = ThresholdCurve.of(sure, is_right, TRUTH_ROWS, most=TRUTH_ROWS)
        for rows in ROWS:
            for kind, levels in LEVELS.items():
                for level in levels:
                    chosen = [of_class(world, rows, Aim(kind, "", level), generator) for _ in range(draws)]
                    yield figures(world, rows, kind.value, level, chosen, truth)
            for level in ACCURACIES:
                chosen = [of_answers(world, rows, level, generator) for _ in range(draws)]
                yield figures(world, rows, "accuracy", level, chosen, answers)


def of_class(world: World, rows: int, aim: Aim, generator: np.random.Generator) -> ChosenThreshold:
    """Choose a threshold of the class on a draw."""
    scores, is_class = world.draw(rows, generator)
    return choose_threshold(ThresholdCurve.of(scores, is_class, int(is_class.sum())), aim)


def of_answers(world: World, rows: int, level: float, generator: np.random.Generator) -> ChosenThreshold:
    """Choose the least probability of an answer on a draw."""
    sure, is_right = answered(*world.draw(rows, generator))
    return share_of_right(ThresholdCurve.of(sure, is_right, rows), level)


def answered(scores: np.ndarray, is_class: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of the likelier answer to each row, and whether it is right."""
    return np.maximum(scores, 1 - scores), (scores >= 0.5) == is_class


def figures(
    world: World, rows: int, kind: str, level: float, chosen: list[ChosenThreshold], truth: ThresholdCurve
) -> dict[str, Any]:
    """Return the figures of one case, see the module."""
    promised = [each for each in chosen if each.is_promised]
    pairs = [shares(truth, each.threshold, kind) for each in promised]
    broken = sum(share < level for share, _ in pairs)
    every = truth.right / (truth.positives if kind == "recall" else truth.reached)
    prices = {"precision": truth.right / truth.positives, "recall": truth.right / truth.reached}.get(
        kind, truth.reached / truth.rows
    )
    possible = prices[(every >= level) & (truth.reached >= 100)]
    return {
        "share": world.share,
        "distance": world.distance,
        "sureness": world.sureness,
        "rows": rows,
        "promise": f"{kind}>={level:g}",
        "draws": len(chosen),
        "promised": round(len(promised) / len(chosen), 3),
        "broken": round(broken / len(chosen), 3),
        "price": round(float(np.mean([price for _, price in pairs])), 3) if pairs else None,
        "best": round(float(possible.max()), 3) if len(possible) else None,
    }


def shares(truth: ThresholdCurve, threshold: float, kind: str) -> tuple[float, float]:
    """Return the true share that was promised, and its price."""
    reached, right = truth.at(threshold)
    precision, recall = right / max(reached, 1), right / truth.positives
    if kind == "recall":
        return recall, precision
    return precision, recall if kind == "precision" else reached / truth.rows


def of_job(job: Path, test: Path) -> Iterator[dict[str, Any]]:
    """Yield the figures of the promises that an artifact allows, on labelled rows."""
    import multimodal_algo
    from multimodal_algo.artifact import artifact_at, read_description
    from multimodal_algo.interface.frames import frame_of

    model = multimodal_algo.load(job)
    frame = frame_of(test)
    probabilities = model.predict_proba(frame).to_numpy()
    targets = np.array([model.classes.index(str(label)) for label in frame[model.label]])
    with tempfile.TemporaryDirectory() as scratch:
        decision = read_description(artifact_at(job, Path(scratch) / "artifact")).decision
    assert decision is not None
    curves = {name: ThresholdCurve.from_dict(values) for name, values in decision.curves.items()}
    answers = curves.pop("")
    is_right, sure = probabilities.argmax(axis=1) == targets, probabilities.max(axis=1)
    for kind, levels in LEVELS.items():
        for level in levels:
            counts = []
            for name, curve in curves.items():
                label = model.classes.index(name)
                chosen = choose_threshold(curve, Aim(kind, "", level))
                counts.append(Count.of(chosen, probabilities[:, label], targets == label, kind.value))
            yield of_counts(job.name, kind.value, level, counts)
    for level in ACCURACIES:
        yield of_counts(job.name, "accuracy", level, [Count.of(share_of_right(answers, level), sure, is_right)])


@dataclass(frozen=True)
class Count:
    """A threshold on labelled rows: whether it promises anything, the right ones of how many rows, and its price."""

    is_promised: bool
    right: int
    rows: int
    price: float

    @classmethod
    def of(cls, chosen: ChosenThreshold, scores: np.ndarray, is_right: np.ndarray, kind: str = "accuracy") -> Count:
        """Count rows with their scores, float (rows,), and whether each is right, bool (rows,)."""
        reaches = scores >= chosen.threshold
        right, reached, positives = int((reaches & is_right).sum()), int(reaches.sum()), int(is_right.sum())
        if kind == "recall":
            return cls(bool(chosen.is_promised), right, positives, right / max(1, reached))
        price = right / positives if kind == "precision" else reached / len(scores)
        return cls(bool(chosen.is_promised), right, reached, price)


def of_counts(job: str, kind: str, level: float, counts: list[Count]) -> dict[str, Any]:
    """Return the figures of all classes for one promise."""
    promised = [each for each in counts if each.is_promised and each.rows]
    return {
        "job": job,
        "promise": f"{kind}>={level:g}",
        "asked": len(counts),
        "promised": len(promised),
        "below": sum(each.right < level * each.rows for each in promised),
        "refuted": sum(bool(bdtr(each.right, each.rows, level) < 0.05) for each in promised),
        "share": round(sum(each.right for each in promised) / max(1, sum(each.rows for each in promised)), 4),
        "price": round(float(np.mean([each.price for each in promised])), 3) if promised else None,
    }


if __name__ == "__main__":
    main()
