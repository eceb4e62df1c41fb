from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.core.task import Task
from multimodal_algo.predictors.base import TargetScale, prior_of, read_state, state_of


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=30).filter(lambda shares: np.std(shares) > 1e-3),
    st.sampled_from([(0.0, 1.0), (1.7e9, 10.0), (1e15, 64.0), (0.0, 1e-12), (0.0, 1e-300), (0.0, 1e300), (-3e7, 0.5)]),
)
def test_numbers_that_go_through_float32_keep_seven_digits_of_their_deviation(
    shares: list[float], place: tuple[float, float]
) -> None:
    offset, unit = place
    numbers = offset + unit * np.array(shares)
    scale = TargetScale.of(numbers, Task.regression())
    rounded = scale.standardised(numbers).astype(np.float32)
    assert np.isfinite(rounded).all()
    error = np.abs(scale.restored(rounded) - numbers)
    assert (error <= 1e-5 * scale.deviation + 4 * np.spacing(np.abs(numbers).max())).all()


def test_class_indices_stay_as_they_are() -> None:
    indices = np.array([0, 2, 1])
    assert TargetScale.of(indices, Task.of_classes(3)).standardised(indices) is indices


def test_logarithms_are_undone_and_stay_near_the_labels() -> None:
    prices = np.array([0.5, 3.0, 20.0, 9_999.99])
    scale = TargetScale.of(prices, Task.regression(), logarithm=True)
    np.testing.assert_allclose(scale.restored(scale.standardised(prices)), prices, rtol=1e-14)
    assert scale.standardised(prices).std() == pytest.approx(1)
    assert 0 < scale.restored(np.array([-1e9]))[0] < 0.5 < 9_999.99 < scale.restored(np.array([1e9]))[0] < 1e7
    assert read_state(json.loads(json.dumps(state_of(np.array([7.0]), scale))))[1] == scale


def test_equal_numbers_have_a_scale() -> None:
    scale = TargetScale.of(np.full(3, 7.0), Task.regression())
    assert scale.restored(scale.standardised(np.array([7.0, 8.0]))).tolist() == [7.0, 8.0]


@pytest.mark.parametrize("numbers", [[1.7e9, 1.7e9 + 1], [1e-12, 3e-12]])
def test_prior_and_scale_are_read_as_they_were_written(numbers: list[float]) -> None:
    targets = np.array(numbers)
    prior, scale = prior_of(targets, Task.regression()), TargetScale.of(targets, Task.regression())
    restored, same = read_state(json.loads(json.dumps(state_of(prior, scale))))
    assert same == scale
    assert restored.tolist() == prior.tolist() == pytest.approx([sum(numbers) / 2], rel=1e-15)
