"""The notebooks run from top to bottom, and are stored without outputs."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import boto3
import nbformat
import pytest
from account import ACCOUNT, REGION, Account
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from multimodal_algo.aws.algorithm import create
from multimodal_algo.aws.requests import Training, Transform
from multimodal_algo.aws.session import Session
from multimodal_algo.aws.specification import Images
from multimodal_algo.config.transform import JoinSource, TransformSettings
from multimodal_algo.local.training import pack

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ROLE = f"arn:aws:iam::{ACCOUNT}:role/SageMaker"

Execute = Callable[..., nbformat.NotebookNode]


@pytest.fixture
def execute(tmp_path: Path) -> Execute:
    """Runs a notebook in its folder with the Python of an environment. A cell that fails is an error."""

    def run(name: str, python: Path = Path(sys.executable)) -> nbformat.NotebookNode:
        # Jupyter replaces a bare "python" by its own.
        command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        folder = tmp_path / "kernels/tested"
        folder.mkdir(parents=True)
        specification = {"argv": command, "display_name": "tested", "language": "python"}
        (folder / "kernel.json").write_text(json.dumps(specification))
        kernels = KernelSpecManager(kernel_dirs=[str(folder.parent)])
        path = ROOT / "notebooks" / name
        notebook = nbformat.read(path, as_version=4)
        manager = AsyncKernelManager(kernel_name="tested", kernel_spec_manager=kernels)
        resources = {"metadata": {"path": str(path.parent)}}
        return NotebookClient(notebook, km=manager, timeout=600, resources=resources).execute()

    return run


def outputs(notebook: nbformat.NotebookNode, kind: str) -> list[str]:
    """The outputs of its cells in a MIME type. ``text/plain`` includes what they print."""
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and kind == "text/plain":
                shown.append(output.text)
            elif kind in output.get("data", {}):
                shown.append(output.data[kind])
    return shown


@pytest.mark.slow
def test_the_walk_through_on_this_machine(
    execute: Execute, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", str(sample))
    monkeypatch.setenv("JOB", str(tmp_path / "job"))
    printed = "\n".join(outputs(execute("local.ipynb"), "text/plain"))
    assert "ready to train" in printed
    [right] = re.findall(r"(\d+) of 40 right", printed)
    assert int(right) > 36
    with (tmp_path / "job/joined/test_noheader.csv.out").open(newline="") as stream:
        lines = list(csv.reader(stream))
    assert len(lines) == 40
    assert json.loads(lines[0][2]).keys() == {"text", "num", "cat", "image"}


@pytest.mark.slow
@pytest.mark.parametrize("is_packed", [False, True], ids=["as the simulator leaves it", "as the platform does"])
def test_an_artifact_is_read(
    execute: Execute, is_packed: bool, job: Path, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "job"
    copy.mkdir()
    (copy / "model.tar.gz").symlink_to(job / "model.tar.gz")
    if is_packed:
        pack(job / "output/data", copy / "output.tar.gz")
    else:
        (copy / "output").symlink_to(job / "output")
    monkeypatch.setenv("DATA", str(sample))
    monkeypatch.setenv("JOB", str(copy))
    notebook = execute("artifact.ipynb")
    assert "40 of 40 rows can be read" in "\n".join(outputs(notebook, "text/plain"))
    assert len(outputs(notebook, "image/png")) == 3


@pytest.fixture(scope="session")
def sdk_3() -> Path:
    """The Python of SDK 3's environment. With REQUIRE_CONTAINERS it must exist, as in the container tests."""
    path = ROOT / "build/sdks/v3/bin/python"
    if not path.exists():
        reason = "SageMaker's SDK 3 is not installed. Run `make sdks`, then `make test`."
        if os.environ.get("REQUIRE_CONTAINERS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.mark.slow
def test_end_to_end_by_arn(
    sdk_3: Path, execute: Execute, account: Account, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
    images = Images(f"{registry}/multimodal-training", f"{registry}/multimodal-inference")
    arn = create(Session(), "multimodal", images)
    assert arn is not None
    for name, value in {"ALGORITHM_ARN": arn, "ROLE_ARN": ROLE, "BUCKET": "bucket", "DATA": str(sample)}.items():
        monkeypatch.setenv(name, value)

    notebook = execute("by_arn.ipynb", sdk_3)

    created = dict(account.requests)
    assert list(created) == [
        "CreateAlgorithm", "CreateTrainingJob", "CreateModelPackage", "CreateModel", "CreateTransformJob",
    ]  # fmt: skip
    # The SDK and the command send the same requests, except for defaults that one of them spells out.
    training, transform = created["CreateTrainingJob"], created["CreateTransformJob"]
    assert training["OutputDataConfig"].pop("CompressionType") == "GZIP"
    assert training == Training(
        arn, ROLE, {"train": "s3://bucket/multimodal/train/"}, "s3://bucket/multimodal/jobs",
        {"quality": "toy", "n_mins": "2"}, "ml.m5.xlarge", max_runtime_s=7200,
    ).request(training["TrainingJobName"])  # fmt: skip
    command = Transform(
        transform["ModelName"], "s3://bucket/multimodal/lines/", "s3://bucket/multimodal/predictions",
        TransformSettings(
            join_source=JoinSource.INPUT, output_filter="$[0,-2,-1]",
            env={"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label,probability"},
        ), "ml.m5.xlarge",
    ).request(transform["TransformJobName"])  # fmt: skip
    assert command["TransformInput"].pop("CompressionType") == "None"
    assert command["DataProcessing"].pop("InputFilter") == "$"
    assert transform == command
    assert created["CreateModel"]["EnableNetworkIsolation"]
    printed = "\n".join(outputs(notebook, "text/plain"))
    assert re.search(r"validation:accuracy=0\.\d+;", printed), "the log"
    assert re.search(r"validation:accuracy +0\.\d+", printed), "the metrics"
    stored = boto3.client("s3").get_object(Bucket="bucket", Key="multimodal/predictions/test_noheader.csv.out")
    lines = list(csv.reader(io.StringIO(stored["Body"].read().decode())))
    with (sample / "test.csv").open(newline="") as stream:
        truth = {row["ID"]: row["label"] for row in csv.DictReader(stream)}
    assert [line[0] for line in lines] == list(truth)
    assert sum(truth[identifier] == label for identifier, label, _ in lines) > 36


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_what_a_run_leaves_is_stripped(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_no_notebook_names_a_place_or_an_account(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert not re.search(r"\b\d{12}\b", cell.source), "an account"
        assert not re.search(r"arn:aws|\.amazonaws\.com", cell.source), "a resource"
        places = re.findall(r"""(?:^|[\s"'(`=])((?:~|/[a-zA-Z])[\w./-]*)""", cell.source)
        assert [place for place in places if not place.startswith(("/opt/ml", "/ping"))] == []
