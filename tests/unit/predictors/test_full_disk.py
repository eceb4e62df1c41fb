"""AutoGluon leaves out models that it cannot save. A full disk must not make a worse model in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.core.budget import Budget
from multimodal_algo.core.disks import disk_error
from multimodal_algo.core.task import Task
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.tabular import AutoGluonPredictor


@pytest.mark.fits
def test_a_fit_on_a_full_disk_ends_with_the_error_of_the_disk(volume: Path) -> None:
    labels = np.arange(60) % 3
    inputs = pd.DataFrame({"a_num": labels + np.random.default_rng(0).normal(size=60).astype(np.float32)})
    settings = FitSettings(
        name="num", task=Task.of_classes(3), model_settings={"GBM": {"num_boost_round": 200}}, seed=0, scratch=volume,
        budget=Budget.starting_now(120),
    )  # fmt: skip
    with pytest.raises(OSError, match="No space left") as error:
        AutoGluonPredictor.fit(inputs, labels, np.arange(60) % 3, settings)
    assert disk_error(error.value) is not None
