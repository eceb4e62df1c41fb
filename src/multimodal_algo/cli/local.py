"""The commands ``multimodal-algo local``: run jobs on this machine as SageMaker would run them."""

from __future__ import annotations

import sys
import webbrowser
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
    channel_options,
    channel_values,
    hyperparameter_option,
    hyperparameters_of,
    name_options,
    pairs,
    search_options,
    transform_options,
    transform_settings,
)
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.installed import require_train

if TYPE_CHECKING:
    from multimodal_algo.local import TrainingJob
    from multimodal_algo.local.runner import Runner


@click.group()
def local() -> None:
    """Run training, tuning and batch transform jobs on this machine, as SageMaker would run them."""


def _programs(command: COMMAND) -> COMMAND:
    """Add the options that choose a container image for the programs ``train`` and ``serve``."""
    memory = click.option("--memory", help="With --image: memory limit of the container, for example 8g.")
    image = click.option("--image", help="Container image. By default, the program is a plain process.")
    return image(memory(command))


@local.command("train")
@channel_options(type=DATA)
@name_options
@hyperparameter_option
@click.option("--output", type=NEW_DATA_FOLDER, required=True, help="Folder for model.tar.gz and output/.")
@click.option("--checkpoints", type=NEW_FOLDER, help="Folder for checkpoints, from which a stopped job continues.")
@click.option("--open", "opens", is_flag=True, help="Open the report in the browser at the end.")
@_programs
def local_train(
    output: Path | str, checkpoints: Path | None, opens: bool, image: str | None, memory: str | None, **options: Any
) -> None:
    """Train as a training job does. A channel is a file or a folder. Channels and output may be in S3 (s3://…)."""
    from multimodal_algo.local import train as run
    from multimodal_algo.local.job_log import job_log

    job = replace(_training_job(options), checkpoints=checkpoints)
    with job_log() as log:
        archive = run(job, output=output, runner=_runner(image, memory), log=log)
    _end_of_training(archive, opens=opens)


def _end_of_training(archive: Path | str, *, opens: bool) -> None:
    """Print where the report is, and the command to run next. Open the report if `opens` is true."""
    report = archive.parent / "output/data/report.html" if isinstance(archive, Path) else None
    if report is not None and report.is_file():
        click.echo(f"report: {report}")
        if opens and not webbrowser.open(report.resolve().as_uri()):
            click.echo("There is no browser that can be opened here. Copy the report to a machine that has one.")
    predicts = f"multimodal-algo local transform --model {archive} --input lines.csv --output predictions"
    click.echo(f"next: {predicts}")


@local.command("transform")
@click.option("--model", type=DATA_FILE, required=True, help="The model.tar.gz of a training job.")
@click.option("--input", "input_data", type=DATA, required=True, help="File or folder of header-less lines.")
@click.option("--output", type=NEW_DATA_FOLDER, required=True, help="Folder for the .out files.")
@transform_options
@_programs
def local_transform(
    model: Path | str,
    input_data: Path | str,
    output: Path | str,
    image: str | None,
    memory: str | None,
    **options: Any,
) -> None:
    """Transform as a batch transform job does. Model, input and output may be in S3 (s3://bucket/key)."""
    from multimodal_algo.local import transform as run

    run(model, input_data, transform_settings(options), output=output, runner=_runner(image, memory))


@local.command("serve")
@click.option("--model", type=DATA_FILE, required=True, help="The model.tar.gz of a training job.")
@click.option("--port", default=8080, show_default=True, help="Port of the server. 0 takes any free one.")
@click.option("--lines", type=FILE, help="File of header-less lines, which a printed command sends.")
@_programs
def local_serve(model: Path | str, port: int, lines: Path | None, image: str | None, memory: str | None) -> None:
    """Serve a model as an endpoint does, and print a command that sends it a request. Ctrl-C stops the server."""
    from multimodal_algo.local.serving import serve as run

    run(model, _runner(image, memory, port), lines=lines, report=click.echo)


@local.command("tune")
@channel_options(type=DATA)
@name_options
@hyperparameter_option
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for tuning.json and a folder for each job.")
@search_options
@_programs
def local_tune(
    output: Path,
    ranges: tuple[str, ...],
    objective: str,
    job_count: int,
    strategy: str,
    image: str | None,
    memory: str | None,
    **options: Any,
) -> None:
    """Search for good hyperparameters as a tuning job does, with one training job after the other."""
    from multimodal_algo.aws.requests import parameter_ranges
    from multimodal_algo.aws.specification import find_objective
    from multimodal_algo.local.tuning import Objective, TuningJob
    from multimodal_algo.local.tuning import tune as run

    metric = find_objective(objective)
    job = TuningJob(
        _training_job(options),
        parameter_ranges(pairs(ranges, "--range")),
        Objective(metric.platform_name, metric.expression, metric.greater_is_better),
        job_count,
        strategy == "Bayesian",
    )
    run(job, output=output, runner=_runner(image, memory), report=click.echo)


@local.command("validate-algorithm")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for artifact, answers, logs and rehearsal.json.")
@click.option(
    "--request", type=FILE, help="JSON of another CreateAlgorithm request, as create-algorithm --dry-run prints it."
)
@click.option("--train", "train_data", type=FILE_OR_FOLDER, help="Training data instead of the sample.")
@click.option("--lines", type=FILE_OR_FOLDER, help="Header-less lines instead of the sample's.")
@click.option("--training-image", help="Container image for train. By default, train is a plain process.")
@click.option("--inference-image", help="Container image for serve. By default, serve is a plain process.")
@click.option("--memory", help="With images: memory limit of a container, for example 8g.")
@click.option("--quick", is_flag=True, help="Only the jobs of the platform: one training job and one transform job.")
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
    """Rehearse what CreateAlgorithm's validation does, and check every promise of the request.

    Exit code 1 on faults.
    """
    from multimodal_algo.rehearsal.request import rehearsal_request
    from multimodal_algo.rehearsal.run import Setting, rehearse

    setting = Setting(
        _runner(training_image, memory if training_image else None),
        _runner(inference_image, memory if inference_image else None),
        output,
        is_quick=quick,
        report=click.echo,
    )
    findings = rehearse(rehearsal_request(request, train_data, lines, output / "sample"), setting)
    faults = len(findings.faults)
    click.echo(
        f"{len(findings.checks)} checks, {faults} fault{'' if faults == 1 else 's'}: {output / 'rehearsal.json'}"
    )
    sys.exit(1 if faults else 0)


def _training_job(options: dict[str, Any]) -> TrainingJob:
    from multimodal_algo.config.channels import CHANNELS
    from multimodal_algo.local import ChannelData, TrainingJob

    values = channel_values(options)
    data = {
        channel.name: ChannelData(values[channel.name], channel.content_type)
        for channel in CHANNELS
        if channel.name in values
    }
    return TrainingJob(data, hyperparameters_of(options))


def _runner(image: str | None, memory: str | None, port: int = 0) -> Runner:
    from multimodal_algo.local.docker import DockerRunner
    from multimodal_algo.local.runner import ProcessRunner

    if memory and not image:
        raise UserError("--memory limits a container: give its --image too.")
    if image:
        return DockerRunner(image, memory)
    require_train("A job without an image", ", or name a container image")
    return ProcessRunner(port=port)
