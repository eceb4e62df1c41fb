"""`train` in its image, stopped in the middle."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from engine import ONE_THREAD, SEALED, TRAINING, docker, inspect
from small_job import PARAMETERS

from multimodal_algo.artifact import read_config
from multimodal_algo.local.tree import ChannelData, build_training_tree


def test_docker_stop_ends_training_and_a_new_container_goes_on(
    sample: Path, tmp_path: Path, container: Callable[..., str]
) -> None:
    base = tmp_path / "ml"
    build_training_tree(base, {"train": ChannelData(sample / "train.csv")}, PARAMETERS)
    for path in (base, *base.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)  # for a user that the image does not know
    run = (*SEALED, "-e", ONE_THREAD, "-v", f"{base}:/opt/ml", TRAINING)
    # Without a command, as SDK 3 starts it.
    first = container(*run)
    with subprocess.Popen(["docker", "logs", "--follow", first], stdout=subprocess.PIPE, text=True) as log:
        assert log.stdout is not None
        for line in log.stdout:
            if " INFO num: " in line:
                break
        docker("stop", first)
        log.terminate()
    state = inspect(first)["State"]
    assert (state["ExitCode"], state["OOMKilled"]) == (128 + 15, False)
    assert "SIGTERM" in (base / "output/failure").read_text()
    assert not (base / "model/model_config.json").exists()

    log_text = docker("run", "--rm", *run, "train")
    assert "text: taken from the checkpoint of a previous start" in log_text
    assert "validation:accuracy=" in log_text
    assert "\r" not in log_text
    assert not (base / "output/failure").exists()
    read_config(base / "model")


def test_a_users_mistake_ends_the_container_with_one_sentence(sample: Path, tmp_path: Path) -> None:
    base = tmp_path / "ml"
    build_training_tree(base, {"train": ChannelData(sample / "train.csv")}, {"n_epoch": "3"})
    run = ["docker", "run", "--rm", "--network", "none", "-v", f"{base}:/opt/ml", TRAINING, "train"]
    done = subprocess.run(run, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert (base / "output/failure").read_text() == "Unknown hyperparameter 'n_epoch': did you mean 'n_epochs'?"
