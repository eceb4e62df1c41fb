"""The simulator's batch transform keeps the platform's rules: data processing, streams, limits, S3. Over real HTTP."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from moto_server import moto_server

from multimodal_algo.cli import main
from multimodal_algo.core.errors import UserError
from multimodal_algo.local import (
    BatchStrategy,
    CompressionType,
    JoinSource,
    SplitType,
    TransformSettings,
    transform,
)
from multimodal_algo.local.runner import ProcessRunner
from multimodal_algo.local.training import pack

STAND_IN = ProcessRunner((sys.executable, str(Path(__file__).with_name("stand_in.py"))))
SINGLE = BatchStrategy.SINGLE_RECORD
MEGABYTE = 1024 * 1024


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/x").write_text("x")
    return pack(tmp_path / "model", tmp_path / "model.tar.gz")


def behaviour(**settings: Any) -> dict[str, str]:
    return {"STAND_IN": json.dumps(settings)}


ECHO = behaviour(echo=True)


def answers(model: Path, body: bytes, job: TransformSettings, tmp_path: Path, name: str = "lines.csv") -> bytes:
    (tmp_path / name).write_bytes(body)
    (out,) = transform(model, tmp_path / name, job, output=tmp_path / "out", runner=STAND_IN)
    assert out == tmp_path / f"out/{name}.out"
    return out.read_bytes()


def processed(input_filter: str, join: str, output_filter: str, **settings: Any) -> TransformSettings:
    filters = {"input_filter": input_filter, "join_source": JoinSource(join), "output_filter": output_filter}
    return TransformSettings(**filters | {"env": ECHO} | settings)


def log_of(tmp_path: Path) -> str:
    return (tmp_path / "out/serve.log").read_text()


@pytest.mark.parametrize("strategy", BatchStrategy)
def test_input_filter_join_with_the_whole_record_and_output_filter_follow_each_other(
    model: Path, tmp_path: Path, strategy: BatchStrategy
) -> None:
    job = processed("$[1:]", "Input", "$[0,-1]", strategy=strategy, env={}, max_concurrent_transforms=3)
    found = answers(model, b'7,a\n"8",c\n9,d', job, tmp_path)
    prefix = b"text/csv|text/csv|%d:" % (1 if strategy is SINGLE else 3)
    assert found == b"7," + prefix + b"a\n8," + prefix + b"c\n9," + prefix + b"d\n"


def test_without_data_processing_bytes_are_sent_and_kept_as_they_are(model: Path, tmp_path: Path) -> None:
    body = b'\xef\xbb\xbf"torn\n\xff,1\r\n\n  "x\n'
    assert answers(model, body, TransformSettings(env=ECHO), tmp_path) == body


def test_a_join_of_json_lines_adds_an_attribute(model: Path, tmp_path: Path) -> None:
    lines = {"content_type": "application/jsonlines", "accept": "application/jsonlines"}
    body = b'{"id":1,"features":[1,2]}\n{"id":2,"features":[3]}\n'
    found = answers(model, body, processed("$.features", "Input", "$['id','SageMakerOutput']", **lines), tmp_path)
    assert found == b'{"id":1,"SageMakerOutput":[1,2]}\n{"id":2,"SageMakerOutput":[3]}\n'


def test_a_join_of_what_is_no_object_makes_one(model: Path, tmp_path: Path) -> None:
    lines = {"content_type": "application/jsonlines", "accept": "application/jsonlines"}
    found = answers(model, b"[1,2]\n", processed("$[0]", "Input", "$", **lines), tmp_path)
    assert found == b'{"SageMakerInput":[1,2],"SageMakerOutput":1}\n'


def test_a_join_needs_an_answer_for_each_record(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lines\.csv, payload from line 2: 1 records were answered with 2 lines"):
        answers(model, b"a\nsplit b\n", processed("$", "Input", "$", strategy=SINGLE), tmp_path)


def test_an_output_index_beyond_the_joined_record_is_an_error(model: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"OutputFilter \$\[4\] selects a part that is not there \(there are 4 elements\)"
    ):
        answers(model, b"a,b\n", processed("$", "Input", "$[4]"), tmp_path)
    assert not (tmp_path / "out/lines.csv.out").exists()


def test_a_wrong_setting_is_reported_before_anything_starts(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Select by index"):
        answers(model, b"a\n", processed("$.id", "None", "$"), tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_payload_limit_of_0_streams_the_whole_file_as_one_request(model: Path, tmp_path: Path) -> None:
    body = b"".join(b"%0999d\n" % number for number in range(2500))
    # The first try is answered 500: the second has the whole file again.
    job = TransformSettings(max_payload_mb=0, strategy=SINGLE, env=behaviour(fail_first=1))
    found = answers(model, body, job, tmp_path)
    assert found.count(b"|2500:") == found.count(b"\n") == 2500
    log = log_of(tmp_path)
    assert '"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"' in log
    assert log.count("encoding chunked") == 2
    assert "encoding None" not in log


def test_a_payload_limit_of_0_leaves_no_records_to_process(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="DataProcessing needs it from 1 to 100"):
        answers(model, b"a,b\n", processed("$[1:]", "None", "$", max_payload_mb=0), tmp_path)


@pytest.mark.parametrize("split", SplitType)
def test_a_record_beyond_the_payload_limit_is_refused(model: Path, tmp_path: Path, split: SplitType) -> None:
    body = b"a\n" + b"x" * MEGABYTE + b"\n"
    with pytest.raises(UserError, match=f"more than the payload limit of {MEGABYTE}"):
        answers(model, body, TransformSettings(split_type=split, max_payload_mb=1), tmp_path)


def test_gzip_is_decompressed_before_files_are_cut(model: Path, tmp_path: Path) -> None:
    job = TransformSettings(compression_type=CompressionType.GZIP, strategy=SINGLE)
    found = answers(model, gzip.compress(b"a\nb\n"), job, tmp_path, name="lines.csv.gz")
    assert found == b"text/csv|text/csv|1:a\ntext/csv|text/csv|1:b\n"
    stream = TransformSettings(compression_type=CompressionType.GZIP, max_payload_mb=0)
    assert answers(model, gzip.compress(b"a\nb\n"), stream, tmp_path, name="lines.csv.gz").count(b"|2:") == 2


@pytest.mark.parametrize("payload_mb", [0, 1])
def test_a_file_that_is_no_gzip_fails_at_once(model: Path, tmp_path: Path, payload_mb: int) -> None:
    job = TransformSettings(compression_type=CompressionType.GZIP, max_payload_mb=payload_mb)
    with pytest.raises(UserError, match=r"lines\.csv: not a whole gzip file"):
        answers(model, b"a\nb\n", job, tmp_path)


def test_a_request_is_tried_again_as_often_as_the_job_says(model: Path, tmp_path: Path) -> None:
    job = TransformSettings(invocations_max_retries=1, env=behaviour(fail_first=1))
    assert answers(model, b"a\n", job, tmp_path).endswith(b":a\n")
    with pytest.raises(UserError, match="HTTP 500: not yet"):
        answers(model, b"a\n", TransformSettings(invocations_max_retries=0, env=behaviour(fail_first=1)), tmp_path)


def test_a_request_that_takes_longer_than_the_job_says_is_tried_again(model: Path, tmp_path: Path) -> None:
    job = TransformSettings(invocations_timeout_s=1, invocations_max_retries=1, env=behaviour(hang_first=1))
    assert answers(model, b"a\n", job, tmp_path).endswith(b":a\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"invocations_timeout_s": 0}, "InvocationsTimeoutInSeconds is 0: it must be from 1 to 3600"),
        ({"invocations_timeout_s": 3601}, "InvocationsTimeoutInSeconds is 3601"),
        ({"invocations_max_retries": -1}, "InvocationsMaxRetries is -1: it must be from 0 to 3"),
        ({"invocations_max_retries": 4}, "InvocationsMaxRetries is 4"),
        ({"env": {f"V{number}": "" for number in range(17)}}, "Environment has 17 variables"),
    ],
)
def test_limits_of_invocations_and_environment_are_the_platforms(
    model: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        answers(model, b"a\n", TransformSettings(**settings), tmp_path)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def s3(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    client = boto3.session.Session(region_name="us-east-1").client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    for found in client.list_objects_v2(Bucket="bucket").get("Contents", ()):
        client.delete_object(Bucket="bucket", Key=found["Key"])
    client.delete_bucket(Bucket="bucket")


def put(s3: Any, model: Path, **bodies: bytes) -> None:
    s3.upload_file(str(model), "bucket", "models/model.tar.gz")
    for key, body in bodies.items():
        s3.put_object(Bucket="bucket", Key=key, Body=body)


def objects(s3: Any, prefix: str) -> dict[str, bytes]:
    found = s3.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", ())
    return {entry["Key"]: s3.get_object(Bucket="bucket", Key=entry["Key"])["Body"].read() for entry in found}


@pytest.mark.parametrize("given", ["s3://bucket/in", "s3://bucket/in/"])
def test_every_object_below_a_prefix_is_transformed_and_keeps_its_key(s3: Any, model: Path, given: str) -> None:
    put(s3, model, **{"in/a.csv": b"1\n", "in/deep/b.csv": b"2\n", "in/empty.csv": b"", "in/deep/": b"", "other": b"3"})
    written = transform(
        "s3://bucket/models/model.tar.gz",
        given,
        TransformSettings(env=ECHO),
        output="s3://bucket/out/",
        runner=STAND_IN,
    )
    assert written == [f"s3://bucket/out/{name}.out" for name in ("a.csv", "deep/b.csv", "empty.csv")]
    assert objects(s3, "out/") == {"out/a.csv.out": b"1\n", "out/deep/b.csv.out": b"2\n", "out/empty.csv.out": b""}


def test_a_prefix_is_the_beginning_of_a_key_and_no_folder(s3: Any, model: Path) -> None:
    put(s3, model, **{"in/part-1": b"1\n", "in/part-2": b"2\n", "in/other": b"3\n"})
    transform(model, "s3://bucket/in/part", TransformSettings(env=ECHO), output="s3://bucket/out", runner=STAND_IN)
    assert objects(s3, "out/") == {"out/part-1.out": b"1\n", "out/part-2.out": b"2\n"}


def test_a_failed_file_costs_its_object_and_no_other(s3: Any, model: Path) -> None:
    put(s3, model, **{"in/a.csv": b"1\n", "in/b.csv": b"refuse\n"})
    with pytest.raises(UserError, match=r"b\.csv, payload from line 1 .* HTTP 400") as caught:
        transform(model, "s3://bucket/in/", output="s3://bucket/out", runner=STAND_IN)
    assert list(objects(s3, "out/")) == ["out/a.csv.out"]
    log = Path(str(caught.value).rpartition("log is ")[2].removesuffix("."))
    assert "encoding None" in log.read_text()
    log.unlink()


@pytest.mark.parametrize("key", ["in/../../a.csv", "in//a.csv", "in/a.csv/b"])
def test_a_key_that_is_no_path_below_the_prefix_is_refused(s3: Any, model: Path, key: str, tmp_path: Path) -> None:
    put(s3, model, **{key: b"1\n", "in/a.csv": b"1\n"})
    with pytest.raises(UserError, match="the key cannot be a file's path here"):
        transform(model, "s3://bucket/in/", output=tmp_path / "out", runner=STAND_IN)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"model": "s3://bucket/models/none"}, "models/none: the bucket or object does not exist"),
        ({"model": "s3://bucket/models/"}, "models/ does not name an object"),
        ({"input_data": "s3://bucket/none"}, "bucket/none: no key begins with this prefix"),
        ({"input_data": "s3://no-bucket/in"}, "no-bucket/in: the bucket or object does not exist"),
        ({"input_data": "s3://"}, "s3:// does not name a bucket"),
        ({"input_data": "s3://Not_A_Bucket!/x"}, "s3://Not_A_Bucket!/x cannot be reached"),
        ({"output": "s3://no-bucket/out"}, "no-bucket/out: the bucket or object does not exist"),
    ],
)
def test_what_is_not_in_s3_is_reported(s3: Any, model: Path, where: dict[str, str], message: str) -> None:
    put(s3, model, **{"in/a.csv": b"1\n"})
    right = {"model": str(model), "input_data": "s3://bucket/in/", "output": "s3://bucket/out"}
    with pytest.raises(UserError, match=message):
        transform(**right | where, runner=STAND_IN)


def test_missing_credentials_are_reported(
    s3: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(UserError, match=r"s3://bucket/in: there are no credentials\. Set AWS_PROFILE"):
        transform(model, "s3://bucket/in", output=tmp_path / "out", runner=STAND_IN)


def test_an_endpoint_that_does_not_answer_is_reported(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(UserError, match=r"s3://bucket/in cannot be reached .* Check AWS_ENDPOINT_URL"):
        transform("s3://bucket/x", "s3://bucket/in", output=tmp_path / "out", runner=STAND_IN)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    # The module's name in its package is the group of commands.
    monkeypatch.setattr(sys.modules["multimodal_algo.cli.local"], "_runner", lambda image, memory: STAND_IN)
    done = CliRunner().invoke(main, ["local", "transform", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_takes_the_platforms_settings(s3: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(s3, model, **{"in/a.csv.gz": gzip.compress(b"1,a,b\n2,c,d\n")})
    places = ["--model", f"file://{model}", "--input", "s3://bucket/in/", "--output", "s3://bucket/out"]
    processing = ["--input-filter", "$[1:2]", "--join-source", "Input", "--output-filter", "$[0,-1]"]
    limits = ["--invocations-timeout-s", "30", "--invocations-max-retries", "0", "--compression-type", "Gzip"]
    output = command(monkeypatch, *places, *processing, *limits, "--env", f"STAND_IN={ECHO['STAND_IN']}")
    assert "the end of a slice is read as inclusive" in output
    assert "predictions are in s3://bucket/out" in output
    assert objects(s3, "out/") == {"out/a.csv.gz.out": b"1,b\n2,d\n"}


def test_without_assembly_answers_are_glued(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_bytes(b"1\n2\n")
    places = ["--model", str(model), "--input", f"file://{tmp_path}/a.csv", "--output", str(tmp_path / "out")]
    settings = ["--strategy", "SingleRecord", "--assemble-with", "None"]
    command(monkeypatch, *places, *settings, "--env", f"STAND_IN={json.dumps({'no_final_newline': True})}")
    assert (tmp_path / "out/a.csv.out").read_bytes() == b"text/csv|text/csv|1:1text/csv|text/csv|1:2"
