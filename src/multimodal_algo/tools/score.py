"""Comparing a transform's output with the truth."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL
from multimodal_algo.ingest.sources import Source, read_rows


@dataclass(frozen=True)
class Outcome:
    """How good `predictions` are, in words, and the share of right rows; None of a regression."""

    predictions: Path
    told: str
    accuracy: float | None

    @property
    def sentence(self) -> str:
        """For the terminal."""
        return f"{self.predictions}: {self.told}"


def score_predictions(predictions: Path, truth: Path) -> Outcome:
    """Compare output lines (``ID,label,probability``; of a regression ``ID,label``) with a CSV file that has labels.

    Raises
    ------
    UserError
        Another number of lines than rows, or IDs that differ in some line.
    """
    header, *rows = [row.fields for row in read_rows(Source(truth, truth.name))]
    if LABEL not in header:
        raise UserError(f"{truth}: there is no '{LABEL}' column to compare with.")
    with predictions.open(encoding="utf-8", newline="") as stream:
        # The SDK's local mode ends each payload's answers with a blank line; an answer never is one.
        answers = [answer for answer in csv.reader(stream) if answer]
    if len(answers) != len(rows):
        raise UserError(
            f"{predictions} has {len(answers)} lines, {truth} has {len(rows)} rows: they do not belong together."
        )
    place = 1 if ID in header else 0
    for line, (answer, row) in enumerate(zip(answers, rows, strict=True), start=1):
        if place and answer[0] != row[header.index(ID)]:
            raise UserError(
                f"{predictions}, line {line}: the ID is '{answer[0]}', {truth} has '{row[header.index(ID)]}'."
            )
    predicted = [answer[place] for answer in answers]
    expected = [row[header.index(LABEL)] for row in rows]
    is_regression = all(len(answer) == place + 1 for answer in answers)
    if is_regression:
        return Outcome(predictions, _of_numbers(predicted, expected), None)
    right = sum(a == b for a, b in zip(predicted, expected, strict=True))
    share = right / len(rows)
    return Outcome(predictions, f"{right} of {len(rows)} right ({share:.1%})", share)


def _of_numbers(predicted: Sequence[str], expected: Sequence[str]) -> str:
    # A line without an answer, of a row that cannot be read, is passed over.
    pairs = [(float(a), float(b)) for a, b in zip(predicted, expected, strict=True) if a]
    if not pairs:
        return "no row was answered"
    error = sum((a - b) ** 2 for a, b in pairs) / len(pairs)
    mean = sum(b for _, b in pairs) / len(pairs)
    spread = sum((b - mean) ** 2 for _, b in pairs) / len(pairs)
    explained = f", {1 - error / spread:.1%} of the variance explained" if spread else ""
    return f"{len(pairs)} of {len(expected)} rows, root mean squared error {math.sqrt(error):.6g}{explained}"
