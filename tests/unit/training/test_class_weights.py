from __future__ import annotations

import numpy as np
import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.training.class_weights import class_weights

TARGET = Target.of(["often"] * 9 + ["rare"] * 3, "auto")


def test_balanced_weights_are_inverse_to_frequencies() -> None:
    weights = class_weights("balanced", TARGET)
    assert weights is not None
    np.testing.assert_allclose(weights, [0.5, 1.5])


def test_weights_may_be_given_by_label() -> None:
    weights = class_weights({"rare": 3}, TARGET)
    assert weights is not None
    np.testing.assert_allclose(weights, [0.5, 1.5])
    assert class_weights("even", TARGET) is None


def test_a_weight_of_no_label_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'rar'.*Did you mean 'rare'"):
        class_weights({"rar": 3}, TARGET)


def test_numbers_have_no_class_weights() -> None:
    with pytest.raises(UserError, match="numbers"):
        class_weights("balanced", Target.of(["1.5", "2.5", "9.5"], "regression"))
