"""Training and predictions on SageMaker from data frames, with the algorithm that an ARN names."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from multimodal_algo.aws import endpoints, jobs
from multimodal_algo.aws.endpoints import Endpoint
from multimodal_algo.aws.invocations import Invocation
from multimodal_algo.aws.models import NewModel, create_model
from multimodal_algo.aws.protection import UNPROTECTED, Protection
from multimodal_algo.aws.reports import write_reports
from multimodal_algo.aws.requests import Training, Transform
from multimodal_algo.aws.session import Session
from multimodal_algo.config.transform import SplitType, TransformSettings
from multimodal_algo.core.column_names import AUTO, ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, LABEL
from multimodal_algo.core.storage import fetch, is_s3, upload
from multimodal_algo.interface.fit import hyperparameter_text, write_rows
from multimodal_algo.interface.frames import frame_of, table_of
from multimodal_algo.interface.model import Model, load

_PARQUET, _LINES = "application/x-parquet", "application/jsonlines"
# An endpoint takes 6 MB, a request of a transform job 100 MB. The rest is for HTTP.
_ENDPOINT_BYTES, _TRANSFORM_BYTES = 6_000_000, 90_000_000
_ANSWER = "predicted_label"


class CloudPredictor:
    """A model that is trained on SageMaker and predicts there. Rows and predictions are data frames.

    Each method sends the same requests as the matching command of ``multimodal-algo aws``, and waits for the result.

    Parameters
    ----------
    role
        ARN of the role that jobs and endpoints run as.
    output
        S3 URI of the prefix for data, artifacts and predictions. The default is ``multimodal`` in the default bucket of
        SageMaker's SDK: ``s3://sagemaker-REGION-ACCOUNT/multimodal``. The bucket must exist.
    algorithm
        ARN of the algorithm, or the name of an algorithm in the same account.
    region
        AWS region. None for the region of the environment or of the profile.
    protection
        Network, keys and tags of everything that is created.

    Examples
    --------
    >>> from multimodal_algo.aws import CloudPredictor
    >>> predictor = CloudPredictor(role="arn:aws:iam::123456789012:role/SageMaker", output="s3://bucket/films")
    >>> predictor.fit(frame, label="category", n_mins=30).predict(new_rows)  # doctest: +SKIP
    >>> predictor.deploy().predict_real_time(new_rows)  # doctest: +SKIP
    >>> predictor.delete_endpoint()  # doctest: +SKIP
    """

    def __init__(
        self,
        role: str,
        output: str | None = None,
        *,
        algorithm: str = "multimodal",
        region: str | None = None,
        protection: Protection = UNPROTECTED,
    ) -> None:
        self._role, self._algorithm, self._protection = role, algorithm, protection
        self._session = Session(region)
        self._given_output = output
        self._names = ColumnNames.parse(LABEL, ID, AUTO)
        self._job: str | None = None
        self._endpoint: str | None = None

    @property
    def training_job(self) -> str:
        """The name of the training job.

        Raises
        ------
        UserError
            Nothing was trained yet.
        """
        if self._job is None:
            raise UserError("The predictor has no training job yet: call fit, or attach with the name of a job.")
        return self._job

    @property
    def artifact(self) -> str:
        """The S3 URI of the training job's ``model.tar.gz``. The errors are those of `training_job`."""
        return jobs.artifact_of(self._session, self.training_job)

    def fit(
        self,
        data: Any,
        label: str = LABEL,
        *,
        columns: Mapping[str, str] | str = AUTO,
        validation: Any = None,
        instance: str = "ml.m5.2xlarge",
        count: int = 1,
        **hyperparameters: Any,
    ) -> CloudPredictor:
        """Train a model in a training job.

        Parameters
        ----------
        data
            Rows with their labels, as for `multimodal_algo.fit`. An ``s3://`` URI is also possible: the job reads it.
        label
            Name of the column to predict.
        columns
            Kinds of columns without a suffix. Kinds that are not given are found from the cells.
        validation
            Rows for the metrics, in the same form as `data`. By default, some rows of `data` are held out.
        instance, count
            Type and number of the machines.
        hyperparameters
            Hyperparameters of the job by name, for example ``quality="light", n_mins=30``.

        Returns
        -------
        CloudPredictor
            This predictor.

        Raises
        ------
        UserError
            Training would refuse the settings, the service refuses the job, or the job fails.
        """
        kinds = columns if isinstance(columns, str) else json.dumps(dict(columns))
        names = ColumnNames.parse(label, hyperparameters.get("id", ID), kinds)
        values = {"label": label, "columns": kinds} | hyperparameters
        job = jobs.new_name("multimodal-train")
        rows = {name: part for name, part in (("train", data), ("validation", validation)) if part is not None}
        training = Training(
            self._algorithm,
            self._role,
            {name: self._location(job, name, part) for name, part in rows.items()},
            f"{self._output}/jobs",
            {name: hyperparameter_text(value) for name, value in values.items() if value is not None},
            instance,
            count,
            protection=self._protection,
        )
        training.request(job)  # refuses settings before data are uploaded
        for name, part in rows.items():
            self._upload(part, training.channels[name], names)
        jobs.train(self._session, job, training)
        jobs.wait(self._session, jobs.TRAINING, job)
        self._job, self._names = job, names
        return self

    def attach(self, training_job: str, label: str = LABEL) -> CloudPredictor:
        """Use the model of a training job that is finished.

        Raises
        ------
        UserError
            There is no such job, or it has no artifact.
        """
        jobs.artifact_of(self._session, training_job)
        self._job, self._names = training_job, ColumnNames.parse(label, ID, AUTO)
        return self

    def predict(self, data: Any, *, instance: str = "ml.m5.2xlarge") -> pd.Series:
        """Run a batch transform job. Return the predicted class or number of each row.

        Parameters
        ----------
        data
            Rows, as for `Model.predict`.
        instance
            Type of the machine.

        Returns
        -------
        pandas.Series
            Predictions with the index of the data. None or NaN for a row that cannot be read.

        Raises
        ------
        UserError
            The service refuses the job, or the job fails.
        """
        frame, model, job = frame_of(data), self._model(), jobs.new_name("multimodal-transform")
        source, target = (f"{self._output}/{part}/{job}" for part in ("rows", "predictions"))
        settings = TransformSettings(
            content_type=_PARQUET, accept=_LINES, split_type=SplitType.NONE, max_payload_mb=100,
            max_concurrent_transforms=1, env={"SAGEMAKER_INFERENCE_OUTPUT": _ANSWER},
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as scratch:
            rows, answers = Path(scratch, "rows"), Path(scratch, "answers")
            rows.mkdir()
            for number, body in enumerate(_bodies(table_of(frame, self._names), _TRANSFORM_BYTES)):
                (rows / f"{number:05}.parquet").write_bytes(body)
            upload(rows, source)
            transform = Transform(model, f"{source}/", target, settings, instance, protection=self._protection)
            jobs.transform(self._session, job, transform)
            jobs.wait(self._session, jobs.TRANSFORM, job)
            lines = [line for path in sorted(fetch(f"{target}/", answers)) for line in _lines(path.read_bytes())]
        return self._series(lines, frame)

    def deploy(self, name: str | None = None, **settings: Any) -> CloudPredictor:
        """Create an endpoint of the model. The endpoint costs money until `delete_endpoint` is called.

        Parameters
        ----------
        name
            Name of the endpoint. By default, the name of the training job.
        settings
            Settings of `multimodal_algo.aws.endpoints.Endpoint`, for example ``instance``, ``scaling`` and
            ``serverless``.

        Returns
        -------
        CloudPredictor
            This predictor.

        Raises
        ------
        UserError
            The service refuses the endpoint, or the endpoint fails.
        """
        model = self._model(is_isolated=settings.get("serverless") is None)
        endpoint = Endpoint(name or self.training_job, model, **{"protection": self._protection} | settings)
        endpoints.deploy(self._session, endpoint)
        self._endpoint = endpoint.name
        return self

    def predict_real_time(self, data: Any) -> pd.Series:
        """Send the rows to the endpoint. Return the predicted class or number of each row, see `predict`.

        Many rows are sent in several requests.

        Raises
        ------
        UserError
            There is no endpoint, the endpoint refuses a row, or a row is too large for a request.
        """
        if self._endpoint is None:
            raise UserError("The predictor has no endpoint: call deploy.")
        frame, invocation = frame_of(data), Invocation(self._endpoint, _PARQUET, _LINES)
        bodies = _bodies(table_of(frame, self._names), _ENDPOINT_BYTES)
        return self._series([line for body in bodies for line in _lines(invocation.send(self._session, body))], frame)

    def delete_endpoint(self) -> None:
        """Delete the endpoint that `deploy` created, with its scaling and its configuration, if there is one."""
        if self._endpoint is not None:
            endpoints.delete(self._session, self._endpoint)
            self._endpoint = None

    def to_local(self) -> Model:
        """Download the model, and return it loaded on this machine.

        Raises
        ------
        UserError
            Nothing was trained yet, or the artifact cannot be fetched.
        """
        return load(self.artifact)

    @property
    def _output(self) -> str:
        if self._given_output is None:
            account = self._session.call("GetCallerIdentity", {}, service="sts")["Account"]
            region = self._session.client("sagemaker").meta.region_name
            self._given_output = f"s3://sagemaker-{region}-{account}/multimodal"
        return self._given_output.rstrip("/")

    def _location(self, job: str, channel: str, data: Any) -> str:
        """Return the S3 URI of a channel's data. Data that are not in S3 yet must be uploaded to it."""
        if is_s3(data):
            return data
        folder = f"{self._output}/data/{job}/{channel}"
        return f"{folder}/" if isinstance(data, str | Path) else f"{folder}/data.parquet"

    def _upload(self, data: Any, uri: str, names: ColumnNames) -> None:
        if is_s3(data):
            return
        if isinstance(data, str | Path):
            upload(Path(data), uri)
            return
        with tempfile.TemporaryDirectory() as scratch:
            upload(write_rows(data, names, Path(scratch)), uri.rpartition("/")[0])

    def _model(self, *, is_isolated: bool = True) -> str:
        """Return the name of the SageMaker model for the artifact. The model is created if it does not exist."""
        name = self.training_job if is_isolated else f"{self.training_job}-open"
        artifact = self.artifact
        model = NewModel(
            name,
            self._algorithm,
            artifact,
            self._role,
            write_reports(self._session, artifact),
            is_isolated=is_isolated,
            protection=self._protection,
        )
        create_model(self._session, model)
        return name

    def _series(self, lines: list[bytes], frame: pd.DataFrame) -> pd.Series:
        if len(lines) != len(frame):
            raise UserError(f"There are {len(lines)} answers to {len(frame)} rows.")
        answers = [json.loads(line) for line in lines]
        if any(_ANSWER not in answer for answer in answers):
            raise UserError(f"The answers lack {_ANSWER}. Leave out the hyperparameter inference_output.")
        values = [answer[_ANSWER] for answer in answers]
        kind = float if values and all(isinstance(value, int | float | None) for value in values) else object
        return pd.Series(values, index=frame.index, name=self._names.label, dtype=kind)


def _bodies(table: pa.Table, most: int) -> Iterator[bytes]:
    """Yield the rows as Parquet files of at most `most` bytes each. A file with a single row may be larger."""
    stream = io.BytesIO()
    pq.write_table(table, stream)
    if stream.tell() <= most or table.num_rows < 2:
        yield stream.getvalue()
        return
    half = table.num_rows // 2
    yield from _bodies(table.slice(0, half), most)
    yield from _bodies(table.slice(half), most)


def _lines(answer: bytes) -> list[bytes]:
    return [line for line in answer.split(b"\n") if line]
