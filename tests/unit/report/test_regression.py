from __future__ import annotations

import numpy as np
import pytest

from multimodal_algo.report.regression import range_errors


def test_errors_are_shown_by_fifths_of_the_labels() -> None:
    truth = np.arange(100.0)
    predictions = np.where(truth < 80, truth + 1, truth - 10)
    ranges = range_errors(truth, predictions)
    assert [(each.low, each.high, each.rows) for each in ranges] == [
        (0, 19, 20), (20, 39, 20), (40, 59, 20), (60, 79, 20), (80, 99, 20),
    ]  # fmt: skip
    assert [each.mean_error for each in ranges] == pytest.approx([1, 1, 1, 1, -10])
    assert ranges[0].r2 == pytest.approx(1 - 1 / np.arange(20.0).var())
    assert ranges[-1].median_error == 10


def test_equal_labels_are_one_range() -> None:
    (only,) = range_errors(np.full(7, 3.0), np.full(7, 4.0))
    assert (only.rows, only.r2, only.mean_error) == (7, None, 1)
