from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from account import REGION, Account, serving


@pytest.fixture
def job(archive: Path) -> Path:
    """The folder of a real training job on the sample."""
    return archive.parent


@pytest.fixture
def account(job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """An account with a bucket and the algorithm, whose training jobs leave what `job` has."""
    quiet = tmp_path / "sdk.yaml"
    quiet.write_text(
        "SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      TelemetryOptOut: true\n", encoding="utf-8"
    )
    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(quiet),
        # moto cannot simulate policies.
        "SAGEMAKER_VALIDATE_ROLE": "false",
    }
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    account = Account(job)
    with serving(account, monkeypatch):
        boto3.client("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield account
