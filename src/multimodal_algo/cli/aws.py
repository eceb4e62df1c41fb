"""The commands ``multimodal-algo aws``: create the algorithm on SageMaker and run jobs there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multimodal_algo.cli.options import (
    COMMAND,
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

if TYPE_CHECKING:
    from multimodal_algo.aws.jobs import Kind
    from multimodal_algo.aws.requests import Training
    from multimodal_algo.aws.session import Session


_ALGORITHM_HELP = "ARN of the algorithm, or the name of one in the same account."


@click.group()
def aws() -> None:
    """Push images, create the algorithm, and run jobs with it. With --dry-run, requests are printed and not sent."""


def _account(command: COMMAND) -> COMMAND:
    """Add the options that every command has which changes something in the AWS account."""
    command = _region(command)
    return click.option("--dry-run", is_flag=True, help="Print the requests, and send nothing.")(command)


def _region(command: COMMAND) -> COMMAND:
    return click.option("--region", help="Region. By default that of the environment or of the profile.")(command)


def _job(prefix: str) -> Callable[[COMMAND], COMMAND]:
    """Add the options that all jobs have. A job without ``--name`` gets a name that begins with `prefix`."""

    def decorate(command: COMMAND) -> COMMAND:
        wait = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the job is done.")
        name = click.option("--name", help=f"Name of the job. By default {prefix} and the time.")
        return name(wait(command))

    return decorate


def _named(name: str | None, prefix: str) -> str:
    return name or f"{prefix}-{datetime.now(UTC):%Y-%m-%d-%H-%M-%S}"


def _training(command: COMMAND) -> COMMAND:
    """Add the options that training jobs and tuning jobs have in common."""
    options: list[Callable[[COMMAND], COMMAND]] = [
        click.option("--algorithm-arn", required=True, help=_ALGORITHM_HELP),
        click.option("--role", required=True, help="ARN of the role of the job."),
        channel_options(metavar="S3_URI"),
        click.option("--output", required=True, metavar="S3_URI", help="Prefix for artifacts."),
        name_options,
        hyperparameter_option,
        click.option("--instance-type", default="ml.m5.2xlarge", show_default=True, help="Instance type."),
        click.option("--volume-gb", default=50, show_default=True, help="Disk for data and temporary files."),
        click.option(
            "--max-runtime", default=24 * 3600, show_default=True, help="Seconds after which the job is stopped."
        ),
        click.option(
            "--input-mode",
            type=click.Choice(["File", "FastFile", "Pipe"]),
            default="File",
            show_default=True,
            help="Input mode. A channel that does not take it arrives by File.",
        ),
        click.option("--spot", is_flag=True, help="Run on spot capacity. Needs --checkpoints."),
        click.option("--checkpoints", metavar="S3_URI", help="Prefix for checkpoints."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@aws.command()
@click.argument("tag", default="latest")
@click.argument("registry", required=False)
@click.option("--local-tag", default="latest", show_default=True, help="Tag of the images on this machine.")
@_account
def push(tag: str, registry: str | None, local_tag: str, region: str | None, dry_run: bool) -> None:
    """Push the images as TAG to the ECR registry of the account REGISTRY (12 digits, by default the caller's)."""
    from multimodal_algo.aws.registry import push as push_images

    names = push_images(_session(region, dry_run), tag, registry, local_tag=local_tag)
    click.echo(f"{names.training}\n{names.inference}")


@aws.command("create-algorithm")
@click.option("--name", default="multimodal", show_default=True, help="Name of the algorithm.")
@click.option("--tag", default="latest", show_default=True, help="Tag of the pushed images.")
@click.option("--registry", help="Account of the registry. By default the caller's.")
@click.option("--training-image", help="Full name of another training image.")
@click.option("--inference-image", help="Full name of another inference image.")
@click.option("--validate-in", metavar="S3_URI", help="Prefix for the sample and for the results of the validation.")
@click.option("--role", help="ARN of the role of the validation's jobs.")
@click.option(
    "--instance-type", default="ml.m5.xlarge", show_default=True, help="Instance type of the validation's training job."
)
@click.option(
    "--transform-instance-type",
    default="ml.g4dn.xlarge",
    show_default=True,
    help="Instance type of the validation's transform job.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the algorithm is validated.")
@_account
def create_algorithm(
    name: str,
    tag: str,
    registry: str | None,
    training_image: str | None,
    inference_image: str | None,
    validate_in: str | None,
    role: str | None,
    instance_type: str,
    transform_instance_type: str,
    wait: bool,
    region: str | None,
    dry_run: bool,
) -> None:
    """Create the algorithm from the pushed images.

    With --validate-in and --role, SageMaker validates it on a sample.
    """
    from multimodal_algo.aws.algorithm import create
    from multimodal_algo.aws.jobs import ALGORITHM
    from multimodal_algo.aws.registry import image_names
    from multimodal_algo.aws.specification import Images

    if (validate_in is None) != (role is None):
        raise UserError("--validate-in and --role belong together: the validation runs jobs, and a job has a role.")
    session = _session(region, dry_run)
    if training_image and inference_image:
        images = Images(training_image, inference_image)
    else:
        pushed = image_names(session, tag, registry)
        images = Images(training_image or pushed.training, inference_image or pushed.inference)
    instances = {"training_instance": instance_type, "transform_instance": transform_instance_type}
    arn = create(session, name, images, validate_in=validate_in, role=role, **instances)
    _follow(session, ALGORITHM, name, wait)
    if arn:
        click.echo(f"algorithm: {arn}")


@aws.command()
@_training
@click.option("--instance-count", default=1, show_default=True, help="Number of instances that train together.")
@click.option("--sharded", is_flag=True, help="Give each instance a share of the files of train and validation.")
@_job("multimodal-train")
@_account
def train(
    instance_count: int,
    sharded: bool,
    name: str | None,
    wait: bool,
    region: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run a training job."""
    from multimodal_algo.aws import jobs

    session, job = _session(region, dry_run), _named(name, "multimodal-train")
    jobs.train(session, job, replace(_training_of(options, instance_count), sharded=sharded))
    _follow(session, jobs.TRAINING, job, wait)
    if wait and not dry_run:
        click.echo(f"artifact: {jobs.artifact_of(session, job)}")


@aws.command()
@_training
@search_options
@click.option("--parallel", default=2, show_default=True, help="Number of training jobs at a time.")
@_job("multimodal-tune")
@_account
def tune(
    ranges: tuple[str, ...],
    objective: str,
    job_count: int,
    strategy: str,
    parallel: int,
    name: str | None,
    wait: bool,
    region: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run a tuning job: training jobs whose hyperparameters a search chooses."""
    from multimodal_algo.aws import jobs
    from multimodal_algo.aws.requests import Tuning

    session = _session(region, dry_run)
    # API: the name of a tuning job has at most 32 characters.
    job = name or f"multimodal-tune-{datetime.now(UTC):%y%m%d-%H%M%S}"
    tuning = Tuning(_training_of(options, 1), pairs(ranges, "--range"), objective, job_count, parallel, strategy)
    jobs.tune(session, job, tuning)
    _follow(session, jobs.TUNING, job, wait)


@aws.command("create-model")
@click.argument("name")
@click.option("--algorithm-arn", required=True, help=_ALGORITHM_HELP)
@click.option("--training-job", help="Training job that made the artifact.")
@click.option("--artifact", metavar="S3_URI", help="A model.tar.gz, instead of --training-job.")
@click.option("--role", required=True, help="ARN of the role of the model's jobs.")
@_account
def create_model(
    name: str,
    algorithm_arn: str,
    training_job: str | None,
    artifact: str | None,
    role: str,
    region: str | None,
    dry_run: bool,
) -> None:
    """Make the model NAME from the artifact of a training job."""
    from multimodal_algo.aws import jobs

    session = _session(region, dry_run)
    if (training_job is None) == (artifact is None):
        raise UserError("Give either --training-job or --artifact.")
    artifact = artifact or jobs.artifact_of(session, str(training_job))
    jobs.create_model(session, name, algorithm_arn, artifact, role)
    if not dry_run:
        click.echo(f"model: {name}")


@aws.command()
@click.option("--model", required=True, help="Name of a model of create-model.")
@click.option("--input", "input_data", required=True, metavar="S3_URI", help="A file, or a prefix of files.")
@click.option("--output", required=True, metavar="S3_URI", help="Prefix for the .out files.")
@transform_options
@click.option("--instance-type", default="ml.m5.2xlarge", show_default=True, help="Instance type.")
@click.option("--instance-count", default=1, show_default=True, help="Number of instances, which share the files.")
@_job("multimodal-transform")
@_account
def transform(
    input_data: str,
    instance_type: str,
    instance_count: int,
    name: str | None,
    wait: bool,
    region: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run a batch transform job."""
    from multimodal_algo.aws import jobs
    from multimodal_algo.aws.requests import Transform

    session, job = _session(region, dry_run), _named(name, "multimodal-transform")
    settings = transform_settings(options)
    request = Transform(options["model"], input_data, options["output"], settings, instance_type, instance_count)
    jobs.transform(session, job, request)
    _follow(session, jobs.TRANSFORM, job, wait)
    if wait and not dry_run:
        click.echo(f"predictions: {options['output']}")


@aws.command()
@click.argument("name")
@_region
def status(name: str, region: str | None) -> None:
    """Show the status of the job, algorithm or model package NAME, and the reason if it failed."""
    from multimodal_algo.aws.jobs import find, summary

    for line in summary(*find(_session(region, dry_run=False), name)):
        click.echo(line)


@aws.command()
@click.argument("name")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for the files.")
@_region
def download(name: str, output: Path, region: str | None) -> None:
    """Download the files of the job NAME: model.tar.gz and output.tar.gz, or the answers of a transform job."""
    from multimodal_algo.aws import jobs

    for path in jobs.download(_session(region, dry_run=False), name, output):
        click.echo(path)


def _training_of(options: dict[str, Any], count: int) -> Training:
    from multimodal_algo.aws.requests import Training

    if options["spot"] and not options["checkpoints"]:
        raise UserError(
            "--spot without --checkpoints starts from nothing after every interruption: give a prefix for checkpoints."
        )
    return Training(
        algorithm=options["algorithm_arn"],
        role=options["role"],
        channels=channel_values(options),
        output=options["output"],
        hyperparameters=hyperparameters_of(options),
        instance=options["instance_type"],
        count=count,
        volume_gb=options["volume_gb"],
        max_runtime_s=options["max_runtime"],
        input_mode=options["input_mode"],
        spot=options["spot"],
        checkpoints=options["checkpoints"],
    )


def _session(region: str | None, dry_run: bool) -> Session:
    from multimodal_algo.aws.session import Session

    return Session(region, dry_run, click.echo)


def _follow(session: Session, kind: Kind, name: str, is_wanted: bool) -> None:
    from multimodal_algo.aws.jobs import wait

    if session.dry_run:
        return
    if is_wanted:
        wait(session, kind, name)
    else:
        click.echo(f"{kind.title} {name} has started. Its status: multimodal-algo aws status {name}")
