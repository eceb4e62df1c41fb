"""The rehearsal of the images: of ours with a deliberate fault of each kind, it finds those and no other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine import INFERENCE, ONE_THREAD, TRAINING, docker
from small_job import PARAMETERS

from multimodal_algo.local.docker import DockerRunner
from multimodal_algo.rehearsal.request import rehearsal_request
from multimodal_algo.rehearsal.run import Setting, rehearse

SMALL = {name: value for name, value in PARAMETERS.items() if name != "n_epochs"}
# Refuses a hyperparameter that is declared, never looks at a channel that is declared, and prints a metric otherwise.
FAULTY_TRAINING = f"""
FROM {TRAINING}
ENV {ONE_THREAD}
RUN mv /opt/venv/bin/train /opt/venv/bin/real-train
COPY train /opt/venv/bin/train
"""
TRAIN = """#!/bin/sh
config=/opt/ml/input/config
if grep -q '"n_epochs"' $config/hyperparameters.json; then
    printf 'Unknown hyperparameter n_epochs' >/opt/ml/output/failure
    exit 1
fi
sed -i 's/"validation": {[^}]*}, *//; s/, *"validation": {[^}]*}//' $config/inputdataconfig.json
real-train 2>&1 | sed 's/validation:log_loss=/loss /'
test ! -e /opt/ml/output/failure
"""
# Loses the last of several lines.
FAULTY_INFERENCE = f"""
FROM {INFERENCE}
RUN sed -i 's/records = decoded.records$/records = decoded.records[: max(1, len(decoded.records) - 1)]/' \\
    "$(python3 -c 'import multimodal_algo.serving.service as s; print(s.__file__)')"
"""


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    context = tmp_path_factory.mktemp("context")
    (context / "train").write_text(TRAIN)
    (context / "train").chmod(0o755)
    names = ("multimodal-faulty-training", "multimodal-faulty-inference")
    for name, dockerfile in zip(names, (FAULTY_TRAINING, FAULTY_INFERENCE), strict=True):
        build = ["docker", "build", "--network", "none", "-t", name, "-f", "-", str(context)]
        done = subprocess.run(build, input=dockerfile.encode(), check=False, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
    yield names
    docker("rmi", "--force", *names, check=False)


def test_a_fault_of_each_kind_is_found_and_nothing_else(faulty: tuple[str, str], tmp_path: Path) -> None:
    request = rehearsal_request(None, None, None, tmp_path / "sample")
    (profile,) = request["ValidationSpecification"]["ValidationProfiles"]
    profile["TrainingJobDefinition"]["HyperParameters"] = SMALL
    setting = Setting(
        DockerRunner(faulty[0], "4g"),
        DockerRunner(faulty[1], "4g"),
        tmp_path / "rehearsal",
    )
    found = {check.name: check.message for check in rehearse(request, setting).faults}
    expected = {
        "metrics are found in its log": "validation:log_loss match nothing",
        "transform job of the validation profile": "59 lines of output for 60 of input",
        "channels train, validation, images, model, pretrained by File and FastFile, all declared hyperparameters": (
            "n_epochs"
        ),
        "channel validation is read: garbage in it fails the job": "nobody reads the channel",
        "a line's answer is the same alone, and at its place": "11 answers to 12 rows",
    }
    formats = {name for name in found if name.startswith("request of ")}
    assert len(formats) == 12
    assert found.keys() - formats == expected.keys()
    assert all(expected[name] in found[name] for name in expected), found
