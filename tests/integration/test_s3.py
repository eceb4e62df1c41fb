"""From data in S3 to predictions in S3, with moto's server in its place and the real programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto_server import moto_server
from small_job import PARAMETERS

from multimodal_algo.core.storage import fetch, upload
from multimodal_algo.local import Channel, TrainingJob, train, transform
from multimodal_algo.tools.score import score_predictions


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with moto_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield "s3://bucket"


@pytest.mark.slow
def test_from_s3_to_s3(bucket: str, sample: Path, tmp_path: Path) -> None:
    upload(sample / "train.csv", f"{bucket}/train/")
    upload(sample / "test_noheader.csv", f"{bucket}/lines/")
    archive = train(TrainingJob({"train": Channel(f"{bucket}/train/")}, PARAMETERS), output=f"{bucket}/job")
    assert archive == f"{bucket}/job/model.tar.gz"
    written = transform(archive, f"{bucket}/lines/", output=f"{bucket}/predictions")
    assert written == [f"{bucket}/predictions/test_noheader.csv.out"]
    (predictions,) = fetch(f"{bucket}/predictions/", tmp_path)
    assert (score_predictions(predictions, sample / "test.csv").accuracy or 0.0) > 0.5
    assert fetch(f"{bucket}/job/output/data/metrics.json", tmp_path)
