"""``multimodal-algo local``: jobs on this machine with the platform's rules."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multimodal_algo.cli.options import (
    COMMAND,
    DATA,
    DATA_FILE,
    FILE,
    FILE_OR_FOLDER,
    NEW_DATA_FOLDER,
    NEW_FOLDER,
    pairs,
    transform_options,
)
from multimodal_algo.core.errors import UserError

if TYPE_CHECKING:
    from multimodal_algo.local import TrainingJob
    from multimodal_algo.local.runner import Runner


@click.group()
def local() -> None:
    """Run training and batch transform jobs on this machine with the platform's rules."""


def _channels(command: COMMAND) -> COMMAND:
    options = [
        click.option("--train", type=DATA, required=True, help="File or folder of the train channel."),
        click.option("--validation", type=DATA, help="File or folder of the validation channel."),
        click.option("--images", type=DATA, help="Folder of the images channel, whose files cells may name."),
        click.option("--model", type=DATA, help="model.tar.gz of an earlier job, or a folder of it, to go on from."),
        click.option("--pretrained", type=DATA, help="Networks of export-backbones, or a model.tar.gz of them."),
        click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; repeatable."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@local.command("train")
@_channels
@click.option("--output", type=NEW_DATA_FOLDER, required=True, help="Folder for model.tar.gz and output/.")
@click.option("--checkpoints", type=NEW_FOLDER, help="Folder that a stopped job goes on from when it starts again.")
@click.option("--image", help="Train in this container image instead of a plain process.")
@click.option("--memory", help="With --image: most memory of the container, such as 8g.")
def local_train(
    output: Path | str, checkpoints: Path | None, image: str | None, memory: str | None, **channels: Any
) -> None:
    """Train as a training job does; data and output may lie in S3 (s3://bucket/prefix)."""
    from multimodal_algo.local import train as run

    job = replace(_training_job(**channels), checkpoints=checkpoints)
    run(job, output=output, runner=_runner(image, memory))


@local.command("transform")
@click.option("--model", type=DATA_FILE, required=True, help="model.tar.gz.")
@click.option(
    "--input",
    "input_data",
    type=DATA,
    required=True,
    help="File or folder of header-less lines.",
)
@click.option("--output", type=NEW_DATA_FOLDER, required=True, help="Folder for the .out files.")
@transform_options
@click.option("--image", help="Serve from this container image instead of a plain process.")
@click.option("--memory", help="With --image: most memory of the container, such as 8g.")
def local_transform(
    model: Path | str,
    input_data: Path | str,
    output: Path | str,
    image: str | None,
    memory: str | None,
    **options: Any,
) -> None:
    """Transform as a batch transform job does; model, input and output may lie in S3 (s3://bucket/key)."""
    from multimodal_algo.local import BatchStrategy, SplitType, TransformJob
    from multimodal_algo.local import transform as run
    from multimodal_algo.local.job import DataProcessing, JoinSource
    from multimodal_algo.local.records import CompressionType

    strategy = options.pop("strategy")
    processing = DataProcessing(
        options.pop("input_filter"), JoinSource(options.pop("join_source")), options.pop("output_filter")
    )
    job = TransformJob(
        split_type=SplitType(options.pop("split_type")),
        strategy=strategy and BatchStrategy(strategy),
        compression_type=CompressionType(options.pop("compression_type")),
        data_processing=processing,
        env=pairs(options.pop("env"), "--env"),
        **options,
    )
    run(model, input_data, job, output=output, runner=_runner(image, memory))


@local.command("tune")
@_channels
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for a folder per job, and tuning.json.")
@click.option(
    "--range", "ranges", multiple=True, required=True, metavar="NAME=LOW:HIGH", help="Or NAME=A,B,C; repeatable."
)
@click.option("--objective", default="log_loss", show_default=True, help="Metric to tune for.")
@click.option("--jobs", "most", default=10, show_default=True, help="Training jobs in all.")
@click.option("--strategy", type=click.Choice(["Bayesian", "Random"]), default="Bayesian", show_default=True)
@click.option("--image", help="Train in this container image instead of a plain process.")
@click.option("--memory", help="With --image: most memory of the container, such as 8g.")
def local_tune(
    output: Path,
    ranges: tuple[str, ...],
    objective: str,
    most: int,
    strategy: str,
    image: str | None,
    memory: str | None,
    **channels: Any,
) -> None:
    """Tune as a tuning job does, one training job after the other."""
    from multimodal_algo.aws.requests import parameter_ranges
    from multimodal_algo.aws.specification import metric_definitions, metric_name, require_objective
    from multimodal_algo.local.tuning import Objective, TuningJob
    from multimodal_algo.local.tuning import tune as run

    direction = require_objective(objective)
    name = metric_name(objective)
    expression = next(entry["Regex"] for entry in metric_definitions() if entry["Name"] == name)
    job = TuningJob(
        _training_job(**channels),
        parameter_ranges(pairs(ranges, "--range")),
        Objective(name, expression, direction == "Maximize"),
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


def _training_job(parameters: tuple[str, ...], **locations: Path | str | None) -> TrainingJob:
    from multimodal_algo.aws.specification import MODEL_TYPE
    from multimodal_algo.local import Channel, TrainingJob

    types = {"model": MODEL_TYPE, "pretrained": MODEL_TYPE}
    channels = {
        name: Channel(location, types.get(name, "text/csv"))
        for name, location in locations.items()
        if location is not None
    }
    return TrainingJob(channels, pairs(parameters, "-p"))


def _runner(image: str | None, memory: str | None) -> Runner:
    from multimodal_algo.local.docker import DockerRunner
    from multimodal_algo.local.runner import ProcessRunner

    if memory and not image:
        raise UserError("--memory limits a container: give its --image too.")
    return DockerRunner(image, memory) if image else ProcessRunner()
