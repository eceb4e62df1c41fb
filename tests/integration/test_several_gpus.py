"""One host with several GPUs is a cluster of its own. Here they exist for Ray alone: what asks for one gets a core."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_job import PARAMETERS, WEIGHTS_DIR

from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.execution.hosts import Hosts
from multimodal_algo.execution.protocol import Executor
from multimodal_algo.execution.ray_executor import RayExecutor
from multimodal_algo.execution.roles import Lead
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train


@pytest.fixture
def executor() -> Iterator[Executor]:
    environment = dict(os.environ)
    lead = Lead(Hosts("algo-1", ("algo-1",)))
    try:
        yield lead.executor(2, 60)
    finally:
        lead.end(None)
        os.environ.clear()
        os.environ.update(environment)


@pytest.mark.slow
def test_networks_are_fine_tuned_side_by_side(
    executor: Executor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(executor, RayExecutor)
    assert (executor.resources.hosts, executor.resources.gpus) == (("algo-1",), 2)
    data = tmp_path / "train.csv"
    data.write_text(
        "ID,a_text,label\n" + "".join(f"{n},{['cheap', 'dear'][n % 2]} thing {n % 7},{n % 2}\n" for n in range(60))
    )
    metrics = train(
        ChannelPaths(data),
        HyperParameters.parse({**PARAMETERS, "text_hyperparameters": json.dumps({"optim.max_epochs": 1})}),
        JobDirectories.below(tmp_path, weights=WEIGHTS_DIR),
        executor=executor,
    )
    assert {"text", "text_tuned"} <= metrics.modalities.keys()
    assert (tmp_path / "model/model_config.json").is_file()
