"""Compares predictions with the true labels of the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multimodal_algo.core.aims import REVIEW
from multimodal_algo.core.column_names import AS_WRITTEN, ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import number_of
from multimodal_algo.tools.answers import Answers, Truth, canonical, read_answers


@dataclass(frozen=True)
class Outcome:
    """How good predictions are.

    Parameters
    ----------
    predictions
        Path of the file with the predictions.
    summary
        The quality in words.
    accuracy
        Share of right classes among the rows that are answered. None for a regression.
    reviewed
        Share of the rows that are left to a person.
    """

    predictions: Path
    summary: str
    accuracy: float | None
    reviewed: float = 0.0

    @property
    def sentence(self) -> str:
        """The quality as one line for the terminal."""
        return f"{self.predictions}: {self.summary}"


def score_predictions(
    predictions: Path,
    truth: Path,
    names: ColumnNames = AS_WRITTEN,
    *,
    problem_type: str = "auto",
    review_label: str = REVIEW,
) -> Outcome:
    """Compare the predictions in a file with the true labels in another file.

    Parameters
    ----------
    predictions
        The output of a transform, or ``predictions.csv`` of a training job, see `read_answers`.
    truth
        CSV or Parquet file of the same rows, with column names and label.
    names
        The user's own names of the label and ID column in `truth`.
    problem_type
        ``classes`` or ``regression``. With ``auto`` the content of the predictions decides.
    review_label
        The answer to rows that are left to a person.

    Raises
    ------
    UserError
        The predictions cannot be read, see `read_answers`. Or their content does not show whether they are classes or
        numbers. Or `truth` has no label, or an answer has the ID of another row.
    """
    known = Truth.read(truth, names)
    answers = read_answers(predictions, known)
    expected = _labels_in_order(answers, predictions, known) if answers.in_order else _labels_by_id(answers, known)
    pairs = [(a, b) for a, b in zip(answers.labels, expected, strict=True) if b.strip()]
    if not pairs:
        return Outcome(predictions, "no row has a label", None)
    if problem_type == "regression" or (problem_type == "auto" and _are_numbers(predictions, answers, pairs)):
        return Outcome(predictions, _regression_summary(pairs), None)
    by_value = all(number_of(b) is not None for _, b in pairs)
    answered = pairs if review_label in (b.strip() for _, b in pairs) else _answered(pairs, review_label)
    right = sum(canonical(a, by_value=by_value) == canonical(b, by_value=by_value) for a, b in answered)
    unanswered = sum(not a.strip() for a, _ in answered)
    more = f", {unanswered} of them without an answer" if unanswered else ""
    if len(answered) == len(pairs):
        summary = f"{right} of {len(pairs)} right ({right / len(pairs):.1%}){more}"
        return Outcome(predictions, summary, right / len(pairs))
    reviewed = len(pairs) - len(answered)
    share = f" ({right / len(answered):.1%})" if answered else ""
    summary = (
        f"{right} of {len(answered)} answered rows right{share}{more}, "
        f"{reviewed} of {len(pairs)} left to a person ({reviewed / len(pairs):.1%})"
    )
    return Outcome(predictions, summary, right / len(answered) if answered else None, reviewed / len(pairs))


def _answered(pairs: Sequence[tuple[str, str]], review_label: str) -> list[tuple[str, str]]:
    """Return the pairs of an answer and a label, without rows that are left to a person."""
    return [(a, b) for a, b in pairs if a.strip() != review_label]


def _labels_in_order(answers: Answers, predictions: Path, truth: Truth) -> list[str]:
    """Return the true label of each answer. Answers and rows have the same order, and their IDs must be equal."""
    if answers.ids is None or truth.ids is None:
        return truth.labels
    for line, (given, known) in enumerate(zip(answers.ids, truth.ids, strict=True), start=1):
        if canonical(given) != canonical(known):
            raise UserError(
                f"{predictions}, line {line}: the ID is '{given[:60]}', but {truth.path} has '{known[:60]}'. "
                "Give the file that was transformed."
            )
    return truth.labels


def _labels_by_id(answers: Answers, truth: Truth) -> list[str]:
    """Return the true label of each answer, found by its ID. If the rows have no ID, it is the number of the row."""
    ids = truth.ids or [str(number) for number in range(1, len(truth.rows) + 1)]
    labels: dict[str, str] = {}
    for each, label in zip(map(canonical, ids), truth.labels, strict=True):
        if labels.setdefault(each, label) != label:
            raise UserError(f"{truth.path} has rows with the ID '{each[:60]}' and other labels. Make the IDs unique.")
    given = [canonical(each) for each in answers.ids or []]
    if missing := [each for each in given if each not in labels]:
        raise UserError(f"{truth.path} has no row with the ID '{missing[0][:60]}'. Give the file that was predicted.")
    return [labels[each] for each in given]


def _are_numbers(path: Path, answers: Answers, pairs: Sequence[tuple[str, str]]) -> bool:
    """Return whether predictions that look like numbers are from a regression, and are not names of classes.

    Raises
    ------
    UserError
        Both are possible: some predictions are whole numbers that are not among the labels.
    """
    predicted = [a for a, _ in pairs if a.strip()]
    if answers.with_probability or any(number_of(each) is None for each in (*predicted, *(b for _, b in pairs))):
        return False
    labels = {canonical(b) for _, b in pairs}
    if answers.with_error or not predicted:
        return True
    new = [a for a in predicted if canonical(a) not in labels]
    if new and all(float(a).is_integer() for a in predicted):
        raise UserError(
            f"{path}: it cannot be known whether the predictions are numbers or classes, for example "
            f"'{new[0][:40]}', which is not a label. Give --problem-type regression or --problem-type classes."
        )
    return bool(new)


def _regression_summary(pairs: Sequence[tuple[str, str]]) -> str:
    # The label is empty where the row could not be read. Such rows are left out.
    if words := [text for pair in pairs for text in pair if text.strip() and number_of(text) is None]:
        raise UserError(f"'{words[0][:60]}' is not a number. Give --problem-type classes for the names of classes.")
    numbers = [(float(a), float(b)) for a, b in pairs if a.strip()]
    if not numbers:
        return "no row has a prediction"
    error = sum((a - b) ** 2 for a, b in numbers) / len(numbers)
    mean = sum(b for _, b in numbers) / len(numbers)
    variance = sum((b - mean) ** 2 for _, b in numbers) / len(numbers)
    explained = f", {1 - error / variance:.1%} of the variance explained" if variance else ""
    return f"{len(numbers)} of {len(pairs)} rows, root mean squared error {math.sqrt(error):.6g}{explained}"
