"""``multimodal-algo local``: jobs on this machine with the platform's rules."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multimodal_algo.cli.options import FILE, FILE_OR_FOLDER, FOLDER, NEW_FOLDER, pairs
from multimodal_algo.errors import UserError

if TYPE_CHECKING:
    from multimodal_algo.local import TrainingJob
    from multimodal_algo.local.runner import Runner


class Location(click.Path):
    """A path as `click.Path` takes it, or a ``file://`` URI of one, or an ``s3://`` URI, which is looked for later."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType.convert`."""
        from multimodal_algo.local.storage import is_s3, local_path

        return value if is_s3(value) else super().convert(local_path(value), param, ctx)


@click.group()
def local() -> None:
    """Run training and batch transform jobs on this machine with the platform's rules."""


@local.command("train")
@click.option(
    "--train", "train_data", type=FILE_OR_FOLDER, required=True, help="CSV file or folder of the train channel."
)
@click.option("--validation", type=FILE_OR_FOLDER, help="CSV file or folder of the validation channel.")
@click.option("--images", type=FOLDER, help="Folder of the images channel, whose files cells may name.")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for model.tar.gz and output/.")
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; may be repeated.")
@click.option("--image", help="Train in this container image instead of a plain process.")
@click.option("--memory", help="With --image: most memory of the container, such as 8g.")
def local_train(
    train_data: Path,
    validation: Path | None,
    images: Path | None,
    output: Path,
    parameters: tuple[str, ...],
    image: str | None,
    memory: str | None,
) -> None:
    """Train as a training job does."""
    from multimodal_algo.local import train as run

    run(_training_job(train_data, validation, images, parameters), output=output, runner=_runner(image, memory))


@local.command("transform")
@click.option(
    "--model", type=Location(exists=True, dir_okay=False, path_type=Path), required=True, help="model.tar.gz."
)
@click.option(
    "--input",
    "input_data",
    type=Location(exists=True, path_type=Path),
    required=True,
    help="File or folder of header-less lines.",
)
@click.option(
    "--output", type=Location(file_okay=False, path_type=Path), required=True, help="Folder for the .out files."
)
@click.option("--split-type", type=click.Choice(["Line", "None"]), default="Line", show_default=True)
@click.option("--assemble-with", type=click.Choice(["Line", "None"]), default="Line", show_default=True)
@click.option(
    "--strategy", type=click.Choice(["MultiRecord", "SingleRecord"]), default="MultiRecord", show_default=True
)
@click.option(
    "--max-payload-mb",
    type=int,
    help="Payload limit in MB; what the server says, or 6, else. 0: each file is one stream of any size.",
)
@click.option("--max-concurrent-transforms", type=int, help="Requests at a time; what the server says, or 1, else.")
@click.option("--compression-type", type=click.Choice(["None", "Gzip"]), default="None", show_default=True)
@click.option("--content-type", default="text/csv", show_default=True)
@click.option("--accept", default="text/csv", show_default=True)
@click.option("--input-filter", default="$", show_default=True, help="JSONPath of what the server is sent.")
@click.option("--join-source", type=click.Choice(["None", "Input"]), default="None", show_default=True)
@click.option("--output-filter", default="$", show_default=True, help="JSONPath of what is kept, after the join.")
@click.option("--invocations-timeout-s", type=int, default=600, show_default=True, help="Of a request; 1 to 3600.")
@click.option("--invocations-max-retries", type=int, default=3, show_default=True, help="Of a request; 0 to 3.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment of the server; may be repeated.")
@click.option("--image", help="Serve from this container image instead of a plain process.")
@click.option("--memory", help="With --image: most memory of the container, such as 8g.")
def local_transform(
    model: Path | str,
    input_data: Path | str,
    output: Path | str,
    split_type: str,
    assemble_with: str,
    strategy: str,
    max_payload_mb: int | None,
    max_concurrent_transforms: int | None,
    compression_type: str,
    content_type: str,
    accept: str,
    input_filter: str,
    join_source: str,
    output_filter: str,
    invocations_timeout_s: int,
    invocations_max_retries: int,
    env: tuple[str, ...],
    image: str | None,
    memory: str | None,
) -> None:
    """Transform as a batch transform job does; model, input and output may lie in S3 (s3://bucket/key)."""
    from multimodal_algo.local import BatchStrategy, SplitType, TransformJob
    from multimodal_algo.local import transform as run
    from multimodal_algo.local.job import DataProcessing, JoinSource
    from multimodal_algo.local.records import CompressionType

    job = TransformJob(
        split_type=SplitType(split_type),
        strategy=BatchStrategy(strategy),
        max_payload_mb=max_payload_mb,
        max_concurrent_transforms=max_concurrent_transforms,
        compression_type=CompressionType(compression_type),
        content_type=content_type,
        accept=accept,
        assemble_with=assemble_with,
        data_processing=DataProcessing(input_filter, JoinSource(join_source), output_filter),
        invocations_timeout_s=invocations_timeout_s,
        invocations_max_retries=invocations_max_retries,
        env=pairs(env, "--env"),
    )
    run(model, input_data, job, output=output, runner=_runner(image, memory))


@local.command("tune")
@click.option("--train", "train_data", type=FILE_OR_FOLDER, required=True, help="Data of the train channel.")
@click.option("--validation", type=FILE_OR_FOLDER, help="Data of the validation channel.")
@click.option("--images", type=FOLDER, help="Folder of the images channel, whose files cells may name.")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for a folder per job, and tuning.json.")
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter that all jobs have.")
@click.option(
    "--range", "ranges", multiple=True, required=True, metavar="NAME=LOW:HIGH", help="Or NAME=A,B,C; repeatable."
)
@click.option("--objective", default="log_loss", show_default=True, help="Metric to tune for.")
@click.option("--jobs", "most", default=10, show_default=True, help="Training jobs in all.")
@click.option("--strategy", type=click.Choice(["Bayesian", "Random"]), default="Bayesian", show_default=True)
@click.option("--image", help="Train in this container image instead of a plain process.")
@click.option("--memory", help="With --image: most memory of the container, such as 8g.")
def local_tune(
    train_data: Path,
    validation: Path | None,
    images: Path | None,
    output: Path,
    parameters: tuple[str, ...],
    ranges: tuple[str, ...],
    objective: str,
    most: int,
    strategy: str,
    image: str | None,
    memory: str | None,
) -> None:
    """Tune as a tuning job does, one training job after the other."""
    from multimodal_algo.aws.requests import parameter_ranges
    from multimodal_algo.aws.specification import OBJECTIVES, metric_definitions, metric_name
    from multimodal_algo.local.tuning import Objective, TuningJob
    from multimodal_algo.local.tuning import tune as run

    if objective not in OBJECTIVES:
        raise UserError(f"The objective '{objective}' is none of {', '.join(OBJECTIVES)}.")
    name = metric_name(objective)
    expression = next(entry["Regex"] for entry in metric_definitions() if entry["Name"] == name)
    job = TuningJob(
        _training_job(train_data, validation, images, parameters),
        parameter_ranges(pairs(ranges, "--range")),
        Objective(name, expression, OBJECTIVES[objective] == "Maximize"),
        most,
        strategy == "Bayesian",
    )
    run(job, output=output, runner=_runner(image, memory), tell=click.echo)


@local.command("validate-algorithm")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for artifact, answers, logs and rehearsal.json.")
@click.option(
    "--request", type=FILE, help="JSON of another CreateAlgorithm request, as create-algorithm --dry-run prints."
)
@click.option("--train", "train_data", type=FILE_OR_FOLDER, help="Training data in place of the sample.")
@click.option("--lines", type=FILE_OR_FOLDER, help="Header-less lines in place of the sample's.")
@click.option("--training-image", help="Train in this container image instead of a plain process.")
@click.option("--inference-image", help="Serve from this container image instead of a plain process.")
@click.option("--memory", help="With images: most memory of a container, such as 8g.")
@click.option("--quick", is_flag=True, help="Only what the platform does: one training job, one transform job.")
def validate_algorithm(
    output: Path,
    request: Path | None,
    train_data: Path | None,
    lines: Path | None,
    training_image: str | None,
    inference_image: str | None,
    memory: str | None,
    quick: bool,
) -> None:
    """Rehearse the validation of CreateAlgorithm, and try all else that the request promises; exit code 1 on faults."""
    from multimodal_algo.aws.specification import CLASSIFICATION_METRICS, REGRESSION_METRICS, metric_name
    from multimodal_algo.rehearsal.request import rehearsal_request
    from multimodal_algo.rehearsal.run import Setting, rehearse

    setting = Setting(
        _runner(training_image, memory if training_image else None),
        _runner(inference_image, memory if inference_image else None),
        output,
        [[metric_name(name) for name in names] for names in (CLASSIFICATION_METRICS, REGRESSION_METRICS)],
        quick,
        click.echo,
    )
    findings = rehearse(rehearsal_request(request, train_data, lines, output / "sample"), setting)
    faults = len(findings.faults)
    click.echo(
        f"{len(findings.checks)} checks, {faults} fault{'' if faults == 1 else 's'}: {output / 'rehearsal.json'}"
    )
    sys.exit(1 if faults else 0)


def _training_job(
    train_data: Path, validation: Path | None, images: Path | None, parameters: tuple[str, ...]
) -> TrainingJob:
    from multimodal_algo.local import Channel, TrainingJob

    given = {"train": train_data, "validation": validation, "images": images}
    channels = {name: Channel(location) for name, location in given.items() if location is not None}
    return TrainingJob(channels, pairs(parameters, "-p"))


def _runner(image: str | None, memory: str | None) -> Runner:
    from multimodal_algo.local.docker import DockerRunner
    from multimodal_algo.local.runner import ProcessRunner

    if memory and not image:
        raise UserError("--memory limits a container: give its --image too.")
    return DockerRunner(image, memory) if image else ProcessRunner()
