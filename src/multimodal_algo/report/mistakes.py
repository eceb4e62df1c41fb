"""The section of the report with the worst predictions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multimodal_algo.core.schema import Modality
from multimodal_algo.report.formats import number, percent, shortened
from multimodal_algo.report.section import ReportedJob, Section

_SHOWN = 24
_CELLS = 4
_CELL_CHARACTERS = 160
# The page stays small enough to be sent by mail.
_PICTURE_BYTES = 600_000


@dataclass(frozen=True)
class Mistake:
    """A row with a wrong prediction, as the report shows it.

    Parameters
    ----------
    name
        ID of the row, or the number of the row if rows have no ID.
    label, predicted
        Label and prediction of the row.
    detail
        The difference between label and prediction, in words.
    picture
        First image of the row as a data URI. None if the row has no image, or if the page is too large already.
    cells
        Names and values of a few columns.
    """

    name: str
    label: str
    predicted: str
    detail: str
    picture: str | None
    cells: Sequence[tuple[str, str]]


def mistakes(job: ReportedJob) -> Section | None:
    """Return the section with the worst predictions. Return None if no prediction is wrong.

    For classes, they are the wrong predictions with the least probability of the label. For a regression, they are the
    predictions with the largest errors.
    """
    order = _order(job)
    if not len(order):
        return None
    names = job.results.names()
    shown: list[Mistake] = []
    bytes_left = _PICTURE_BYTES
    for row in order.tolist():
        picture = _picture(job, row, bytes_left)
        bytes_left -= len(picture or "")
        shown.append(_mistake(job, row, names[row], picture))
    title = "Largest errors" if job.target.task.is_regression else "Most confident mistakes"
    return Section(title, "mistakes", {"mistakes": shown})


def _order(job: ReportedJob) -> np.ndarray:
    results = job.results
    if job.target.task.is_regression:
        return np.argsort(-np.abs(results.predictions[:, 0] - results.targets), kind="stable")[:_SHOWN]
    label_probability = results.predictions[np.arange(len(results.targets)), results.targets]
    wrong = results.predictions.argmax(axis=1) != results.targets
    return np.argsort(np.where(wrong, label_probability, np.inf), kind="stable")[: min(_SHOWN, int(wrong.sum()))]


def _mistake(job: ReportedJob, row: int, name: str, picture: str | None) -> Mistake:
    label, prediction = job.results.targets[row], job.results.predictions[row]
    cells = _cells(job, row)
    if job.target.task.is_regression:
        off = f"off by {number(prediction[0] - label)}"
        return Mistake(name, number(label), number(prediction[0]), off, picture, cells)
    best, classes = int(prediction.argmax()), job.target.classes
    detail = f"{percent(prediction[best], 1)} against {percent(prediction[label], 1)}"
    return Mistake(name, classes[label], classes[best], detail, picture, cells)


def _cells(job: ReportedJob, row: int) -> list[tuple[str, str]]:
    dataset, position = job.results.dataset, int(job.results.rows[row])
    cells = []
    for modality in (Modality.TEXT, Modality.CAT, Modality.NUM):
        for column in dataset.schema.of(modality):
            value = dataset.features.cells[column][position]
            text = "" if value != value else number(value) if isinstance(value, float) else str(value)
            if text:
                cells.append((job.own(column), shortened(text, _CELL_CHARACTERS)))
    return cells[:_CELLS]


def _picture(job: ReportedJob, row: int, most_bytes: int) -> str | None:
    position = int(job.results.rows[row])
    jpegs = (pictures.jpeg(position) for pictures in job.results.dataset.features.pictures.values())
    jpeg = next((picture for picture in jpegs if picture is not None), None)
    if jpeg is None or len(jpeg) * 4 // 3 + 40 > most_bytes:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
