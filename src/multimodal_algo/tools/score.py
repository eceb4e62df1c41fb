"""Compares predictions with the labels of a CSV file."""

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
    """The quality of predictions.

    Parameters
    ----------
    predictions
        Path of the file with the predictions.
    summary
        Quality in words.
    accuracy
        Share of the rows with the right class. None for a regression.
    """

    predictions: Path
    summary: str
    accuracy: float | None

    @property
    def sentence(self) -> str:
        """The outcome as one line for the terminal."""
        return f"{self.predictions}: {self.summary}"


def score_predictions(predictions: Path, truth: Path) -> Outcome:
    """Compare the output of a transform with a CSV file that has labels.

    Parameters
    ----------
    predictions
        File of lines ``ID,label,probability``. Lines of a regression are ``ID,label``.
    truth
        CSV file of the same rows, with header and label.

    Raises
    ------
    UserError
        `truth` has no label. Or the number of lines is not the number of rows, or a line has the ID of another row.
    """
    header, *rows = [row.fields for row in read_rows(Source(truth, truth.name))]
    if LABEL not in header:
        raise UserError(f"{truth}: there is no '{LABEL}' column to compare with. Give a file that has one.")
    with predictions.open(encoding="utf-8", newline="") as stream:
        # The SDK's local mode ends the answers of each payload with a blank line. An answer is never blank.
        answers = [answer for answer in csv.reader(stream) if answer]
    if len(answers) != len(rows):
        raise UserError(
            f"{predictions} has {len(answers)} lines, {truth} has {len(rows)} rows: they do not belong together."
        )
    label_field = 1 if ID in header else 0
    for line, (answer, row) in enumerate(zip(answers, rows, strict=True), start=1):
        if label_field and answer[0] != row[header.index(ID)]:
            raise UserError(
                f"{predictions}, line {line}: the ID is '{answer[0][:60]}', but {truth} has "
                f"'{row[header.index(ID)][:60]}'. Give the file that was transformed."
            )
    predicted = [answer[label_field] for answer in answers]
    expected = [row[header.index(LABEL)] for row in rows]
    is_regression = all(len(answer) == label_field + 1 for answer in answers)
    if is_regression:
        return Outcome(predictions, _regression_summary(predicted, expected), None)
    right = sum(a == b for a, b in zip(predicted, expected, strict=True))
    accuracy = right / len(rows)
    return Outcome(predictions, f"{right} of {len(rows)} right ({accuracy:.1%})", accuracy)


def _regression_summary(predicted: Sequence[str], expected: Sequence[str]) -> str:
    # The label is empty where the row could not be read. Such rows are left out.
    pairs = [(float(a), float(b)) for a, b in zip(predicted, expected, strict=True) if a]
    if not pairs:
        return "no row has a prediction"
    error = sum((a - b) ** 2 for a, b in pairs) / len(pairs)
    mean = sum(b for _, b in pairs) / len(pairs)
    variance = sum((b - mean) ** 2 for _, b in pairs) / len(pairs)
    explained = f", {1 - error / variance:.1%} of the variance explained" if variance else ""
    return f"{len(pairs)} of {len(expected)} rows, root mean squared error {math.sqrt(error):.6g}{explained}"
