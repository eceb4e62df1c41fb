"""SageMaker, S3 and CloudWatch behind an endpoint on this machine: moto's server, with jobs that leave real files.

moto does not have algorithms, and its jobs do nothing. Here, the description of an algorithm is the request that
created it. A training job by the algorithm's name or ARN leaves the files of a real job. A transform job is the
simulator's. An endpoint answers by the real server. Each request is checked against the service's model.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores
from moto.sagemaker.exceptions import AWSValidationException
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
from moto_server import moto_server

from multimodal_algo.aws.model import problems
from multimodal_algo.core.storage import upload
from multimodal_algo.local import JoinSource, SplitType, TransformSettings, transform
from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.server import LocalServer
from multimodal_algo.local.training import pack
from multimodal_algo.local.transform import extract

REGION = "eu-west-1"
ACCOUNT = "123456789012"
_LOG_GROUP = "/aws/sagemaker/TrainingJobs"

Request = dict[str, Any]


@dataclass
class Account:
    """An account that records its requests.

    Parameters
    ----------
    job
        Folder with the ``model.tar.gz`` and ``output/`` that every training job leaves.
    requests
        Operation and content of each request that creates something, in order.
    algorithms
        Description of each algorithm, by name.
    """

    job: Path
    requests: list[tuple[str, Request]] = field(default_factory=list)
    algorithms: dict[str, Request] = field(default_factory=dict)

    def create_algorithm(self, request: Request) -> Request:
        name = request["AlgorithmName"]
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:algorithm/{name}"
        self.algorithms[name] = {
            **request,
            "AlgorithmArn": arn,
            "CreationTime": datetime.now(UTC),
            "AlgorithmStatus": "Completed",
            "AlgorithmStatusDetails": {},
        }
        return {"AlgorithmArn": arn}

    def algorithm(self, name: str) -> Request:
        description = self.algorithms.get(name.rpartition("algorithm/")[2])
        if description is None:
            raise AWSValidationException(f"Algorithm {name} does not exist.")
        return description

    def check_training(self, request: Request) -> None:
        """Refuse a job by ARN whose hyperparameters or channels are not declared, as the service does."""
        declared = self.algorithm(request["AlgorithmSpecification"]["AlgorithmName"])["TrainingSpecification"]
        for key, given, known in (
            ("hyperparameter", request.get("HyperParameters", {}), declared["SupportedHyperParameters"]),
            ("channel", [each["ChannelName"] for each in request["InputDataConfig"]], declared["TrainingChannels"]),
        ):
            if unknown := set(given) - {each["Name"] for each in known}:
                raise AWSValidationException(f"Unknown {key}: {', '.join(sorted(unknown))}")

    def train(self, job: Any) -> None:
        metrics = json.loads((self.job / "output/data/metrics.json").read_text())["fused"]
        prefix = job.model_artifacts["S3ModelArtifacts"].rpartition("/")[0]
        upload(self.job / "model.tar.gz", prefix)
        with tempfile.TemporaryDirectory() as scratch:
            upload(pack(self.job / "output/data", Path(scratch) / "output.tar.gz"), prefix)
        logs = boto3.client("logs")
        stream = {"logGroupName": _LOG_GROUP, "logStreamName": f"{job.training_job_name}/algo-1-1"}
        logs.create_log_group(logGroupName=_LOG_GROUP)
        logs.create_log_stream(**stream)
        now = datetime.now(UTC)
        lines = [f"INFO validation:{name}={value:.4f};" for name, value in metrics.items()]
        events = [{"timestamp": int(now.timestamp() * 1000), "message": line} for line in lines]
        logs.put_log_events(**stream, logEvents=events)
        job.final_metric_data_list = [
            {"MetricName": f"validation:{name}", "Value": value, "Timestamp": now} for name, value in metrics.items()
        ]

    def transform(self, job: Any) -> None:
        sagemaker = boto3.client("sagemaker")
        container = sagemaker.describe_model(ModelName=job.model_name)["PrimaryContainer"]
        package = sagemaker.describe_model_package(ModelPackageName=container["ModelPackageName"])
        [source] = package["SourceAlgorithmSpecification"]["SourceAlgorithms"]
        processing = job.data_processing or {}
        settings = TransformSettings(
            content_type=job.transform_input["ContentType"],
            accept=job.transform_output["Accept"],
            input_filter=processing.get("InputFilter", "$"),
            join_source=JoinSource(processing.get("JoinSource", "None")),
            output_filter=processing.get("OutputFilter", "$"),
            env=job.environment or {},
        )
        uri = job.transform_input["DataSource"]["S3DataSource"]["S3Uri"]
        transform(source["ModelDataUrl"], uri, settings, output=job.transform_output["S3OutputPath"])

    def answer(self, body: bytes, content_type: str, accept: str) -> bytes:
        """Answer a request to an endpoint, whichever it is: all models have the artifact of the job."""
        settings = TransformSettings(content_type=content_type, accept=accept, split_type=SplitType.NONE)
        with tempfile.TemporaryDirectory() as scratch:
            base = Path(scratch, "ml")
            extract(self.job / "model.tar.gz", base / "model")
            with LocalServer(ProcessRunner(), base, {}, Path(scratch, "serve.log")) as server:
                return server.invoke(body, "the request", settings)


def _under_way(job: Any, kind: str, work: Callable[[Any], None]) -> None:
    """Run a job in a thread, so that its request is answered at once, and record how it ends."""
    setattr(job, f"{kind}_job_status", "InProgress")

    def run() -> None:
        try:
            work(job)
        except Exception as error:
            job.failure_reason = str(error)
            setattr(job, f"{kind}_job_status", "Failed")
            raise
        setattr(job, f"{kind}_job_status", "Completed")

    threading.Thread(target=run, name=f"{kind} job").start()


@contextmanager
def serving(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the endpoint, and point all of AWS's tools of this process and its children there."""

    def answer(operation: str, do: Callable[[SageMakerResponse, Request], ActionResult]) -> None:
        def method(self: SageMakerResponse) -> ActionResult:
            request = json.loads(self.body)
            if errors := problems(operation, request):
                raise AWSValidationException(" ".join(errors))
            if operation.startswith("Create"):
                account.requests.append((operation, request))
            return do(self, request)

        monkeypatch.setattr(SageMakerResponse, camelcase_to_underscores(operation), method, raising=False)

    def training(self: SageMakerResponse, request: Request) -> ActionResult:
        account.check_training(request)
        result = original["training"](self)
        _under_way(self.sagemaker_backend.training_jobs[request["TrainingJobName"]], "training", account.train)
        return result

    def transforming(self: SageMakerResponse, request: Request) -> ActionResult:
        result = original["transform"](self)
        _under_way(self.sagemaker_backend.transform_jobs[request["TransformJobName"]], "transform", account.transform)
        return result

    def packing(self: SageMakerResponse, request: Request) -> ActionResult:
        account.algorithm(request["SourceAlgorithmSpecification"]["SourceAlgorithms"][0]["AlgorithmName"])
        return original["package"](self)

    def modelling(self: SageMakerResponse, request: Request) -> ActionResult:
        result = original["model"](self)
        model = self.sagemaker_backend._models[request["ModelName"]]
        model.enable_network_isolation = request.get("EnableNetworkIsolation", False)
        # The service leaves out fields that a model does not have.
        model.vpc_config = model.vpc_config or None
        return result

    def invoking(self: SageMakerRuntimeResponse, request: Any, url: str, headers: Any) -> tuple[int, Request, bytes]:
        answer = account.answer(request.get_data(), headers["Content-Type"], headers["Accept"])
        return 200, {"Content-Type": headers["Accept"]}, answer

    original = {
        "training": SageMakerResponse.create_training_job,
        "transform": SageMakerResponse.create_transform_job,
        "package": SageMakerResponse.create_model_package,
        "model": SageMakerResponse.create_model,
    }
    answer("CreateAlgorithm", lambda self, request: ActionResult(account.create_algorithm(request)))
    answer("DescribeAlgorithm", lambda self, request: ActionResult(account.algorithm(request["AlgorithmName"])))
    answer("CreateTrainingJob", training)
    answer("CreateTransformJob", transforming)
    answer("CreateModelPackage", packing)
    answer("CreateModel", modelling)
    # moto reads requests to endpoints as text.
    monkeypatch.setattr(SageMakerRuntimeResponse, "_dispatch", invoking)

    with moto_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield
