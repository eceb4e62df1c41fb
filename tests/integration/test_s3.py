"""From data in S3 to predictions in S3, with moto's server in its place and the real programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto_server import moto_server
from small_job import UNHURRIED

from multimodal_algo.core.storage import fetch, upload
from multimodal_algo.local import ChannelData, TrainingJob, train, transform
from multimodal_algo.tools.score import score_predictions


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, moto_server() as url:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", url)
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"


@pytest.fixture(scope="module")
def job(bucket: str, sample: Path) -> str:
    """The output of a training job on the sample in S3, with the hyperparameters of the job of `archive`."""
    upload(sample / "train.csv", f"{bucket}/train/")
    training = TrainingJob({"train": ChannelData(f"{bucket}/train/")}, UNHURRIED)
    assert train(training, output=f"{bucket}/job") == f"{bucket}/job/model.tar.gz"
    return f"{bucket}/job"


@pytest.mark.slow
def test_from_s3_to_s3(bucket: str, job: str, sample: Path, tmp_path: Path) -> None:
    upload(sample / "test_noheader.csv", f"{bucket}/lines/")
    written = transform(f"{job}/model.tar.gz", f"{bucket}/lines/", output=f"{bucket}/predictions")
    assert written == [f"{bucket}/predictions/test_noheader.csv.out"]
    (predictions,) = fetch(f"{bucket}/predictions/", tmp_path)
    assert (score_predictions(predictions, sample / "test.csv").accuracy or 0.0) > 0.5
    assert fetch(f"{job}/output/data/metrics.json", tmp_path)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_metrics(job: str, archive: Path, tmp_path: Path) -> None:
    (path,) = fetch(f"{job}/output/data/metrics.json", tmp_path)
    first = json.loads((archive.parent / "output/data/metrics.json").read_text())
    second = json.loads(path.read_text())
    assert first["fused"] == second["fused"]
    assert first["modalities"] == second["modalities"]
