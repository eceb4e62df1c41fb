from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from multimodal_algo.core.linear import Blocks
from multimodal_algo.core.linear_fit import fit_linear
from multimodal_algo.fusion.solvers import PoolLoss


def columns_and_labels(rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, rows)
    columns = generator.normal(size=(rows, 4)) + np.eye(4)[labels]
    return columns.astype(np.float32), labels


def test_the_stacker_is_as_good_as_a_logistic_regression_of_scikit_learn() -> None:
    columns, labels = columns_and_labels(300)
    ours = fit_linear(Blocks.of_dense(columns), labels, n_classes=3, strength=1 / (0.05 * 300))
    theirs = LogisticRegression(C=1 / (0.05 * 300), tol=1e-8).fit(columns, labels)
    expected = theirs.predict_log_proba(columns)
    np.testing.assert_allclose(log_softmax(ours.scores(Blocks.of_dense(columns)), axis=1), expected, atol=0.02)


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("is_soft", [True, False])
def test_no_other_weights_have_less_loss_than_those_of_the_pool(with_bias: bool, is_soft: bool) -> None:
    columns, labels = columns_and_labels(200)
    logs = np.log(np.abs(np.stack([columns[:, :3], columns[:, 1:]])) + 0.1)
    targets = torch.from_numpy(np.eye(3, dtype=np.float32)[labels] if is_soft else labels)
    loss = PoolLoss(torch.from_numpy(logs), targets, 0.7, 0.005, with_bias)
    weights, bias = loss.minimise()
    point = np.concatenate([weights, bias if with_bias else []]).astype(np.float64)
    least = minimize(lambda at: loss.at(at)[0], point * 0.5, method="Nelder-Mead", options={"maxiter": 4000})
    assert loss.at(point)[0] <= least.fun + 1e-5
    assert not bias.any() or with_bias
