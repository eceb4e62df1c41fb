"""``multimodal-algo aws``: the algorithm on SageMaker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multimodal_algo.cli.options import COMMAND, NEW_FOLDER, pairs, transform_options
from multimodal_algo.core.errors import UserError

if TYPE_CHECKING:
    from multimodal_algo.aws.jobs import Kind
    from multimodal_algo.aws.requests import Training
    from multimodal_algo.aws.session import Session


@click.group()
def aws() -> None:
    """Push images, create the algorithm, and run jobs by its ARN. --dry-run prints requests and sends none."""


def _account(command: COMMAND) -> COMMAND:
    command = click.option("--region", help="Region; that of the environment or profile else.")(command)
    return click.option("--dry-run", is_flag=True, help="Print the requests, send nothing.")(command)


def _job(prefix: str) -> Callable[[COMMAND], COMMAND]:
    def decorate(command: COMMAND) -> COMMAND:
        command = click.option("--wait/--no-wait", default=True, show_default=True, help="Until the job is done.")(
            command
        )
        return click.option("--name", default=None, help=f"Of the job; {prefix} and the time else.")(command)

    return decorate


def _named(name: str | None, prefix: str) -> str:
    return name or f"{prefix}-{datetime.now(UTC):%Y-%m-%d-%H-%M-%S}"


def _training(command: COMMAND) -> COMMAND:
    """The options that a training job and a tuning job share."""
    options = [
        click.option("--algorithm-arn", required=True, help="ARN (or name, of an own one) of the algorithm."),
        click.option("--role", required=True, help="ARN of the role that the job has."),
        click.option("--train", required=True, metavar="S3_URI", help="Data of the train channel."),
        click.option("--validation", metavar="S3_URI", help="Data of the validation channel."),
        click.option("--images", metavar="S3_URI", help="Files that image cells name."),
        click.option("--model", metavar="S3_URI", help="model.tar.gz of an earlier job, to go on from."),
        click.option("--pretrained", metavar="S3_URI", help="Networks of export-backbones, or a model.tar.gz of them."),
        click.option("--output", required=True, metavar="S3_URI", help="Prefix for artifacts."),
        click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; repeatable."),
        click.option("--instance-type", default="ml.m5.2xlarge", show_default=True),
        click.option("--volume-gb", default=50, show_default=True, help="Disk for data and scratch."),
        click.option("--max-runtime", default=24 * 3600, show_default=True, help="Seconds until a job is stopped."),
        click.option(
            "--input-mode", type=click.Choice(["File", "FastFile", "Pipe"]), default="File", show_default=True
        ),
        click.option("--spot", is_flag=True, help="On spot capacity; give --checkpoints too."),
        click.option("--checkpoints", metavar="S3_URI", help="Where /opt/ml/checkpoints is kept."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@aws.command()
@click.argument("tag", default="latest")
@click.argument("registry", required=False)
@click.option("--local-tag", default="latest", show_default=True, help="Of the images on this machine.")
@_account
def push(tag: str, registry: str | None, local_tag: str, region: str | None, dry_run: bool) -> None:
    """Push the images as TAG to the ECR registry of the account REGISTRY (12 digits; the caller's else)."""
    from multimodal_algo.aws.registry import push as push_images

    names = push_images(_session(region, dry_run), tag, registry, local_tag=local_tag)
    click.echo(f"{names.training}\n{names.inference}")


@aws.command("create-algorithm")
@click.option("--name", default="multimodal", show_default=True)
@click.option("--tag", default="latest", show_default=True, help="Of the pushed images.")
@click.option("--registry", help="Account of the registry; the caller's else.")
@click.option("--training-image", help="Another training image, by full name.")
@click.option("--inference-image", help="Another inference image, by full name.")
@click.option("--validate-in", metavar="S3_URI", help="Prefix for the sample and the validation's results.")
@click.option("--role", help="ARN of the role of the validation's jobs.")
@click.option("--instance-type", default="ml.m5.xlarge", show_default=True, help="Of the validation's training job.")
@click.option("--transform-instance-type", default="ml.g4dn.xlarge", show_default=True, help="Of its transform job.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Until the algorithm is validated.")
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
    """Create the algorithm of the pushed images; with --validate-in and --role, validated on a sample."""
    from multimodal_algo.aws.algorithm import create
    from multimodal_algo.aws.jobs import ALGORITHM
    from multimodal_algo.aws.registry import image_names
    from multimodal_algo.aws.specification import Images

    if (validate_in is None) != (role is None):
        raise UserError("--validate-in and --role belong together: validation runs jobs, which have a role.")
    session = _session(region, dry_run)
    if training_image and inference_image:
        images = Images(training_image, inference_image)
    else:
        found = image_names(session, tag, registry)
        images = Images(training_image or found.training, inference_image or found.inference)
    instances = {"training_instance": instance_type, "transform_instance": transform_instance_type}
    arn = create(session, name, images, validate_in=validate_in, role=role, **instances)
    _follow(session, ALGORITHM, name, wait)
    if arn:
        click.echo(f"algorithm: {arn}")


@aws.command()
@_training
@click.option("--instance-count", default=1, show_default=True, help="Instances that train together.")
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
@click.option(
    "--range", "ranges", multiple=True, required=True, metavar="NAME=LOW:HIGH", help="Or NAME=A,B,C; repeatable."
)
@click.option("--objective", default="log_loss", show_default=True, help="Metric to tune for.")
@click.option("--jobs", "most", default=10, show_default=True, help="Training jobs in all.")
@click.option("--parallel", default=2, show_default=True, help="Training jobs at a time.")
@click.option("--strategy", type=click.Choice(["Bayesian", "Random"]), default="Bayesian", show_default=True)
@_job("multimodal-tune")
@_account
def tune(
    ranges: tuple[str, ...],
    objective: str,
    most: int,
    parallel: int,
    strategy: str,
    name: str | None,
    wait: bool,
    region: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Run a tuning job: training jobs with hyperparameters that a search chooses."""
    from multimodal_algo.aws import jobs
    from multimodal_algo.aws.requests import Tuning

    session = _session(region, dry_run)
    # Names of tuning jobs have at most 32 characters.
    job = name or f"multimodal-tune-{datetime.now(UTC):%y%m%d-%H%M%S}"
    tuning = Tuning(_training_of(options, 1), pairs(ranges, "--range"), objective, most, parallel, strategy)
    jobs.tune(session, job, tuning)
    _follow(session, jobs.TUNING, job, wait)


@aws.command("create-model")
@click.argument("name")
@click.option("--algorithm-arn", required=True, help="ARN (or name, of an own one) of the algorithm.")
@click.option("--training-job", help="Whose artifact it has.")
@click.option("--artifact", metavar="S3_URI", help="A model.tar.gz, in place of --training-job.")
@click.option("--role", required=True, help="ARN of the role that the model's jobs have.")
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
    """Make the model NAME of a training job's artifact."""
    from multimodal_algo.aws import jobs

    session = _session(region, dry_run)
    if (training_job is None) == (artifact is None):
        raise UserError("Give either --training-job or --artifact.")
    artifact = artifact or jobs.artifact_of(session, str(training_job))
    jobs.create_model(session, name, algorithm_arn, artifact, role)
    if not dry_run:
        click.echo(f"model: {name}")


@aws.command()
@click.option("--model", required=True, help="Name of the model; create-model makes one.")
@click.option("--input", "input_data", required=True, metavar="S3_URI", help="File, or prefix of files.")
@click.option("--output", required=True, metavar="S3_URI", help="Prefix for the .out files.")
@transform_options
@click.option("--instance-type", default="ml.m5.2xlarge", show_default=True)
@click.option("--instance-count", default=1, show_default=True, help="A file is never split over several.")
@_job("multimodal-transform")
@_account
def transform(
    input_data: str,
    instance_type: str,
    instance_count: int,
    env: tuple[str, ...],
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
    variables = pairs(env, "--env")
    settings = Transform(input=input_data, env=variables, instance=instance_type, count=instance_count, **options)
    jobs.transform(session, job, settings)
    _follow(session, jobs.TRANSFORM, job, wait)
    if wait and not dry_run:
        click.echo(f"predictions: {options['output']}")


@aws.command()
@click.argument("name")
@click.option("--region", help="Region; that of the environment or profile else.")
def status(name: str, region: str | None) -> None:
    """Tell how the job, algorithm or model package NAME is, and why it failed."""
    from multimodal_algo.aws.jobs import find, summary

    for line in summary(*find(_session(region, dry_run=False), name)):
        click.echo(line)


@aws.command()
@click.argument("name")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for the files.")
@click.option("--region", help="Region; that of the environment or profile else.")
def download(name: str, output: Path, region: str | None) -> None:
    """Fetch what the job NAME has left: model.tar.gz and output.tar.gz, or a transform's answers."""
    from multimodal_algo.aws import jobs

    for path in jobs.download(_session(region, dry_run=False), name, output):
        click.echo(path)


def _training_of(options: dict[str, Any], count: int) -> Training:
    from multimodal_algo.aws.requests import Training

    given = {name: options[name] for name in ("train", "validation", "images", "model", "pretrained")}
    if options["spot"] and not options["checkpoints"]:
        raise UserError(
            "--spot without --checkpoints would begin anew after every interruption: give a prefix for them."
        )
    return Training(
        algorithm=options["algorithm_arn"],
        role=options["role"],
        channels={name: uri for name, uri in given.items() if uri is not None},
        output=options["output"],
        hyperparameters=pairs(options["parameters"], "-p"),
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
        click.echo(f"{kind.title} {name} is under way: multimodal-algo aws status {name}")
