"""``label_issues.csv`` lists doubtful labels, and rows of one content with different labels."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from multimodal_algo.core.labels import Target
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.core.task import Task
from multimodal_algo.ingest.features import Features, VectorColumn
from multimodal_algo.report.labels import LABEL_ISSUES, LabelIssues, find_label_issues

ROWS = 40


class MadeRows(SimpleNamespace):
    """The parts of a dataset that label issues need."""

    def __len__(self) -> int:
        return ROWS


@pytest.fixture
def dataset() -> Any:
    """40 rows with different long texts."""
    vectors = np.random.default_rng(0).normal(size=(ROWS, 32)).astype(np.float16)
    texts = np.array([f"a text that is number {row} of several, and long enough to be no name" for row in range(ROWS)])
    features = Features({"t_text": texts.astype(object)}, ROWS, {"t_text": VectorColumn(vectors, np.arange(ROWS))})
    keys = np.arange(1, 2 * ROWS + 1, dtype=np.uint32).reshape(ROWS, 2)
    schema = FeatureSchema(("ID", "t_text", "label"))
    return MadeRows(features=features, schema=schema, keys=keys, names=lambda: [f"row-{n}" for n in range(ROWS)])


def classes(planted: int) -> tuple[Target, np.ndarray]:
    """Labels of two classes, of which that of the row `planted` is wrong, and the predictions of a good model."""
    truth = np.arange(ROWS) % 2
    predictions = np.where(truth[:, None] == [0, 1], 0.9, 0.1)
    labels = truth.copy()
    labels[planted] = 1 - labels[planted]
    return Target(Task.of("binary", 2), ("cat", "dog"), labels), predictions


def lines_of(issues: LabelIssues, directory: Path) -> list[dict[str, str]]:
    issues.write(directory)
    with (directory / LABEL_ISSUES).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_wrong_label_is_listed_with_the_probable_one(dataset: Any, tmp_path: Path) -> None:
    issues = find_label_issues(dataset, *classes(planted=7))
    assert (issues.doubtful, issues.conflicting, issues.rows) == (1, 0, ROWS)
    (line,) = lines_of(issues, tmp_path)
    assert (line["ID"], line["row"], line["label"], line["probable_label"]) == ("row-7", "8", "cat", "dog")
    assert line["doubt"] == "strong"
    assert line["reason"] == "models that did not see the row give 'dog' 90.0% and 'cat' 10.0%"


def test_equal_rows_with_different_labels_are_listed(dataset: Any, tmp_path: Path) -> None:
    dataset.keys[3, 0] = dataset.keys[10, 0]
    issues = find_label_issues(dataset, *classes(planted=7))
    assert issues.conflicting == 2
    lines = {line["ID"]: line for line in lines_of(issues, tmp_path)}
    assert lines["row-3"]["doubt"] == "duplicate"
    assert lines["row-3"]["reason"] == "the same content as row 11 (ID row-10), whose label is 'cat'"
    assert lines["row-3"]["probable_label"] == "cat"
    assert list(lines) == ["row-7", "row-3", "row-10"]


def test_nearly_equal_texts_with_different_labels_are_listed(dataset: Any) -> None:
    vectors = dataset.features.vectors["t_text"].vectors
    vectors[21] = vectors[4] * np.float16(1.01)
    issues = find_label_issues(dataset, *classes(planted=7))
    assert {issue.name for issue in issues.issues} == {"row-7", "row-4", "row-21"}
    assert "nearly the same t_text as row 5 (ID row-4)" in issues.issues[-1].reason + issues.issues[-2].reason


def test_equal_rows_with_one_label_are_not_listed(dataset: Any) -> None:
    dataset.keys[4, 0] = dataset.keys[10, 0]
    assert find_label_issues(dataset, *classes(planted=7)).conflicting == 0


def test_a_number_far_outside_is_listed(dataset: Any, tmp_path: Path) -> None:
    truth = np.linspace(1, 5, ROWS)
    labels = truth + 0.05 * np.random.default_rng(0).normal(size=ROWS)
    labels[12] += 3
    issues = find_label_issues(dataset, Target(Task.of("regression", 0), (), labels), truth[:, None])
    (line,) = lines_of(issues, tmp_path)
    assert line["ID"] == "row-12"
    assert line["probability"] == ""
    assert "standard deviations of like rows" in line["reason"]
