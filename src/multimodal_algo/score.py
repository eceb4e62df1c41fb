"""Comparing a transform's output with the truth."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.errors import UserError
from multimodal_algo.ingest.sources import Source, read_rows
from multimodal_algo.schema import ID, LABEL


@dataclass(frozen=True)
class Outcome:
    """How many rows of `predictions` are right."""

    predictions: Path
    rows: int
    right: int

    @property
    def sentence(self) -> str:
        """For the terminal."""
        return f"{self.predictions}: {self.right} of {self.rows} right ({self.right / self.rows:.1%})"


def score_predictions(predictions: Path, truth: Path) -> Outcome:
    """Compare output lines (``ID,label,probability`` or ``label,probability``) with a CSV file that has the labels.

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
    right = 0
    for line, (answer, row) in enumerate(zip(answers, rows, strict=True), start=1):
        if ID in header and answer[0] != row[header.index(ID)]:
            raise UserError(
                f"{predictions}, line {line}: the ID is '{answer[0]}', {truth} has '{row[header.index(ID)]}'."
            )
        right += answer[-2] == row[header.index(LABEL)]
    return Outcome(predictions, len(rows), right)
