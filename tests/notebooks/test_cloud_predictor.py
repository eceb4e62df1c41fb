"""SageMaker from Python with data frames: a real artifact, transform jobs and answers behind moto's server."""

from __future__ import annotations

from pathlib import Path

import boto3
import pandas as pd
import pytest
from account import ACCOUNT, Account

from multimodal_algo.aws import CloudPredictor
from multimodal_algo.aws.algorithm import create
from multimodal_algo.aws.session import Session
from multimodal_algo.aws.specification import Images
from multimodal_algo.core.errors import UserError

ROLE = f"arn:aws:iam::{ACCOUNT}:role/SageMaker"


@pytest.mark.slow
def test_a_data_frame_is_trained_on_predicted_served_and_fetched(
    account: Account, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multimodal_algo.aws.jobs._POLL_S", 0.2)
    create(Session(), "multimodal", Images("training", "inference"))
    predictor = CloudPredictor(ROLE, "s3://bucket/films")
    with pytest.raises(UserError, match="did you mean"):
        predictor.fit(pd.read_csv(sample / "train.csv"), n_minutes=2)
    with pytest.raises(UserError, match="call fit"):
        predictor.predict(pd.DataFrame())

    predictor.fit(pd.read_csv(sample / "train.csv"), n_mins=2, quality="toy")
    training = dict(account.requests)["CreateTrainingJob"]
    [channel] = training["InputDataConfig"]
    assert channel["ContentType"] == "application/x-parquet"
    uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
    assert boto3.client("s3").head_object(Bucket="bucket", Key=uri.removeprefix("s3://bucket/"))["ContentLength"]

    rows = pd.read_csv(sample / "test.csv").head(20).set_index("ID", drop=False)
    answers = predictor.predict(rows)
    assert answers.index.equals(rows.index)
    assert list(answers) == list(predictor.to_local().predict(rows))

    predictor.deploy("films")
    pd.testing.assert_series_equal(predictor.predict_real_time(rows), answers)
    predictor.delete_endpoint()
    assert boto3.client("sagemaker").list_endpoints()["Endpoints"] == []
