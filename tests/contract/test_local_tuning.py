"""A tuning job, with the stand-in algorithm."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.local import ChannelData, TrainingJob
from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.tuning import Objective, TuningJob, tune

STAND_IN = ProcessRunner((sys.executable, str(Path(__file__).with_name("stand_in.py"))))
RANGES = {
    "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}],
    "CategoricalParameterRanges": [{"Name": "c", "Values": ["a", "b"]}],
}


def job(tmp_path: Path, expression: str, *, maximize: bool = True) -> TuningJob:
    (tmp_path / "train.csv").write_text("x")
    training = TrainingJob({"train": ChannelData(tmp_path / "train.csv")}, {"fixed": "yes"})
    return TuningJob(training, RANGES, Objective("quality", expression, maximize), jobs=4)


@pytest.mark.parametrize("maximize", [True, False])
def test_the_best_of_all_jobs_is_reported_and_kept(tmp_path: Path, maximize: bool) -> None:
    lines: list[str] = []
    # The stand-in prints its hyperparameters: one of them is the objective.
    best = tune(job(tmp_path, r"'n': '(\d)'", maximize=maximize), output=tmp_path / "out", runner=STAND_IN,
                report=lines.append)  # fmt: skip
    trials = json.loads((tmp_path / "out/tuning.json").read_text())
    values = [trial["value"] for trial in trials]
    assert len(trials) == 4
    assert values == sorted(values, reverse=maximize)
    assert best.value == values[0] == float(best.hyperparameters["n"])
    assert set(best.hyperparameters) == {"n", "c"}
    assert (tmp_path / "out" / best.name / "model.tar.gz").is_file()
    log = (tmp_path / "out" / best.name / "training.log").read_text()
    assert "'fixed': 'yes'" in log
    assert "'_tuning_objective_metric': 'quality'" in log
    assert lines[-1].startswith("best: ")


def test_without_the_objective_in_any_log_the_job_fails(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="None of 4 training jobs gave quality"):
        tune(job(tmp_path, r"nothing=(\d)"), output=tmp_path / "out", runner=STAND_IN, report=print)


def test_failed_jobs_do_not_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN", json.dumps({"failure": "no label"}))
    lines: list[str] = []
    with pytest.raises(UserError, match="None of 4"):
        tune(job(tmp_path, r"'n': '(\d)'"), output=tmp_path / "out", runner=STAND_IN, report=lines.append)
    assert sum("failed with n=" in line and "no label" in line for line in lines) == 4
