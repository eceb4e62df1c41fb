from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conformal_rows import calibration_rows

from multimodal_algo.core.task import Task
from multimodal_algo.fusion.conformal.intervals import PredictionIntervals
from multimodal_algo.fusion.conformal.stored import load_calibrated, save_calibrated
from multimodal_algo.fusion.votes import Votes


def drawn(rows: int, seed: int) -> tuple[np.ndarray, Votes, np.ndarray]:
    """Predictions, votes of two branches and numbers. Errors are skewed, and large where the branches differ."""
    generator = np.random.default_rng(seed)
    prediction, apart = generator.normal(size=rows), generator.choice([0.1, 1.0], size=rows)
    votes = np.zeros((rows, 2, 2))
    votes[:, 0, 0], votes[:, 1, 0] = prediction - apart, prediction + apart
    return prediction[:, None], Votes(votes), prediction + apart * (generator.exponential(size=rows) - 1)


@pytest.fixture(scope="module")
def intervals() -> PredictionIntervals:
    predictions, votes, numbers = drawn(3000, 0)
    return PredictionIntervals.fit(calibration_rows(predictions, numbers, votes), prior=0.0)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.98])
def test_new_rows_are_covered_easy_ones_and_hard_ones(intervals: PredictionIntervals, coverage: float) -> None:
    predictions, votes, numbers = drawn(6000, 1)
    low, high = intervals.intervals(predictions, votes, coverage).T
    covered = (low <= numbers) & (numbers <= high)
    error = np.sqrt(coverage * (1 - coverage) * (1 / 3000 + 1 / 6000))
    assert covered.mean() == pytest.approx(coverage, abs=4 * error)
    hard = np.ptp(votes.array[:, :, 0], axis=1) > 1
    assert covered[hard].mean() == pytest.approx(covered[~hard].mean(), abs=0.06)
    assert (high - low)[hard].mean() > 5 * (high - low)[~hard].mean()
    # The errors are skewed, and so are the intervals.
    assert np.mean(high - predictions[:, 0]) > 1.3 * np.mean(predictions[:, 0] - low)


def test_quantiles_are_ascending_and_have_their_share_below_them(intervals: PredictionIntervals) -> None:
    predictions, votes, numbers = drawn(6000, 2)
    levels = (0.05, 0.25, 0.5, 0.75, 0.95)
    quantiles = intervals.quantiles(predictions, votes, levels)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_allclose((numbers[:, None] <= quantiles).mean(axis=0), levels, atol=0.04)


def test_equal_rows_have_the_interval_of_absolute_ranks_by_hand() -> None:
    # Nineteen errors from -9 to 9: the first and the last of them bound 90 %, since (19 + 1) * 0.05 is 1.
    numbers = np.arange(-9.0, 10.0)
    intervals = PredictionIntervals.fit(calibration_rows(np.zeros((19, 1)), numbers), prior=0.0)
    votes = Votes(np.zeros((1, 1, 2)))
    np.testing.assert_allclose(intervals.intervals(np.array([[100.0]]), votes, 0.9), [[91, 109]])
    assert np.isinf(intervals.intervals(np.array([[100.0]]), votes, 0.95)).all()


def test_a_row_without_a_vote_has_the_spread_of_the_labels(intervals: PredictionIntervals) -> None:
    _, _, numbers = drawn(4000, 3)
    nothing = np.zeros((len(numbers), 2, 2))
    nothing[:, :, 1] = 1.0
    low, high = intervals.intervals(np.zeros((len(numbers), 1)), Votes(nothing), 0.9).T
    assert np.mean((low <= numbers) & (numbers <= high)) == pytest.approx(0.9, abs=0.06)


def test_amounts_have_no_bound_below_zero() -> None:
    generator = np.random.default_rng(0)
    numbers = generator.exponential(size=500)
    intervals = PredictionIntervals.fit(calibration_rows(np.full((500, 1), 1.0), numbers), prior=1.0)
    low = intervals.intervals(np.full((1, 1), 0.01), Votes(np.zeros((1, 1, 2))), 0.9)[0, 0]
    assert low == 0


def test_predictions_without_an_error_have_narrow_intervals() -> None:
    numbers = np.arange(100.0)
    intervals = PredictionIntervals.fit(calibration_rows(numbers[:, None], numbers), prior=50.0)
    np.testing.assert_allclose(intervals.intervals(np.array([[7.0]]), Votes(np.zeros((1, 1, 2))), 0.9), [[7, 7]])


def test_intervals_are_as_they_were_when_read_back(intervals: PredictionIntervals, tmp_path: Path) -> None:
    path = tmp_path / "conformal.npz"
    save_calibrated(intervals, path)
    assert path.stat().st_size < 100_000
    again = load_calibrated(path, Task.regression())
    assert isinstance(again, PredictionIntervals)
    predictions, votes, _ = drawn(50, 4)
    expected = intervals.intervals(predictions, votes, 0.9)
    np.testing.assert_allclose(again.intervals(predictions, votes, 0.9), expected, rtol=1e-5, atol=1e-6)
