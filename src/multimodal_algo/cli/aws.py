"""The commands ``multimodal-algo aws``: create the algorithm on SageMaker and run jobs there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multimodal_algo.cli.aws_endpoints import delete_endpoint, deploy, invoke
from multimodal_algo.cli.aws_options import (
    ALGORITHM_HELP,
    account_options,
    follow,
    job_options,
    model_protection,
    named,
    output_protection,
    protection_of,
    region_option,
    session_of,
    tags_alone,
    training_options,
    wait_option,
    with_options,
)
from multimodal_algo.cli.options import (
    NEW_FOLDER,
    channel_values,
    hyperparameters_of,
    pairs,
    search_options,
    transform_options,
    transform_settings,
)
from multimodal_algo.core.errors import UserError

if TYPE_CHECKING:
    from multimodal_algo.aws.requests import Training


@click.group()
def aws() -> None:
    """Push images, create the algorithm, run jobs with it, and serve models.

    With --dry-run, requests are printed and not sent.
    """


for _command in (deploy, invoke, delete_endpoint):
    aws.add_command(_command)


@aws.command()
@click.argument("tag", default="latest")
@click.argument("registry", required=False)
@click.option("--local-tag", default="latest", show_default=True, help="Tag of the images on this machine.")
@account_options
def push(tag: str, registry: str | None, local_tag: str, **options: Any) -> None:
    """Push the images as TAG to the ECR registry of the account REGISTRY (12 digits, by default the caller's)."""
    from multimodal_algo.aws.registry import push as push_images

    names = push_images(session_of(options), tag, registry, local_tag=local_tag)
    click.echo(f"{names.training}\n{names.inference}")


@aws.command("create-algorithm")
@click.option("--name", default="multimodal", show_default=True, help="Name of the algorithm.")
@click.option("--tag", "image_tag", default="latest", show_default=True, help="Tag of the pushed images.")
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
@click.option(
    "--marketplace", is_flag=True, help="Certify the algorithm for AWS Marketplace. This cannot be changed later."
)
@with_options(*tags_alone)
@wait_option("Wait until the algorithm is validated.")
@account_options
def create_algorithm(
    name: str,
    image_tag: str,
    registry: str | None,
    training_image: str | None,
    inference_image: str | None,
    validate_in: str | None,
    role: str | None,
    instance_type: str,
    transform_instance_type: str,
    marketplace: bool,
    wait: bool,
    **options: Any,
) -> None:
    """Create the algorithm from the pushed images.

    With --validate-in and --role, SageMaker validates it on a sample.
    """
    from multimodal_algo.aws.algorithm import create
    from multimodal_algo.aws.jobs import ALGORITHM
    from multimodal_algo.aws.registry import image_names
    from multimodal_algo.aws.specification import Images, Validation

    if (validate_in is None) != (role is None):
        raise UserError("--validate-in and --role belong together: the validation runs jobs, and a job has a role.")
    session = session_of(options)
    if training_image and inference_image:
        images = Images(training_image, inference_image)
    else:
        pushed = image_names(session, image_tag, registry)
        images = Images(training_image or pushed.training, inference_image or pushed.inference)
    validation = None
    if validate_in is not None and role is not None:
        validation = Validation.within(validate_in, role, instance_type, transform_instance_type)
    protection = protection_of(options)
    arn = create(session, name, images, validation, marketplace=marketplace, protection=protection)
    follow(session, ALGORITHM, name, wait)
    if arn:
        click.echo(f"algorithm: {arn}")


@aws.command()
@training_options
@job_options("multimodal-train")
@account_options
def train(name: str | None, wait: bool, **options: Any) -> None:
    """Run a training job."""
    from multimodal_algo.aws import jobs

    session, job = session_of(options), named(name, "multimodal-train")
    jobs.train(session, job, _training_of(options))
    follow(session, jobs.TRAINING, job, wait)
    if wait and not session.dry_run:
        click.echo(f"artifact: {jobs.artifact_of(session, job)}")


@aws.command()
@training_options
@search_options
@click.option("--parallel", default=2, show_default=True, help="Number of training jobs at a time.")
@job_options("multimodal-tune")
@account_options
def tune(
    ranges: tuple[str, ...],
    objective: str,
    job_count: int,
    strategy: str,
    parallel: int,
    name: str | None,
    wait: bool,
    **options: Any,
) -> None:
    """Run a tuning job on SageMaker: training jobs whose hyperparameters a search chooses."""
    from multimodal_algo.aws import jobs
    from multimodal_algo.aws.requests import Tuning

    session = session_of(options)
    # API: the name of a tuning job has at most 32 characters.
    job = name or f"multimodal-tune-{datetime.now(UTC):%y%m%d-%H%M%S}"
    tuning = Tuning(_training_of(options), pairs(ranges, "--range"), objective, job_count, parallel, strategy)
    jobs.tune(session, job, tuning)
    follow(session, jobs.TUNING, job, wait)


@aws.command("create-model")
@click.argument("name")
@click.option("--algorithm-arn", required=True, help=ALGORITHM_HELP)
@click.option("--training-job", help="Training job that made the artifact.")
@click.option("--artifact", metavar="S3_URI", help="A model.tar.gz, instead of --training-job.")
@click.option("--role", required=True, help="ARN of the role of the model's jobs.")
@click.option(
    "--reports/--no-reports",
    default=True,
    show_default=True,
    help="Write metrics and explanations next to the artifact, and name them in the model package.",
)
@click.option(
    "--isolated/--not-isolated",
    default=True,
    show_default=True,
    help="Run containers without a network. Serverless endpoints do not take isolated models.",
)
@with_options(*model_protection)
@account_options
def create_model(
    name: str,
    algorithm_arn: str,
    training_job: str | None,
    artifact: str | None,
    role: str,
    reports: bool,
    isolated: bool,
    **options: Any,
) -> None:
    """Make the model NAME from the artifact of a training job. A call that was interrupted may be repeated."""
    from multimodal_algo.aws import jobs, models
    from multimodal_algo.aws.reports import write_reports

    session = session_of(options)
    if (training_job is None) == (artifact is None):
        raise UserError("Give either --training-job or --artifact.")
    artifact = artifact or jobs.artifact_of(session, str(training_job))
    uris = write_reports(session, artifact) if reports else {}
    protection = protection_of(options)
    model = models.NewModel(name, algorithm_arn, artifact, role, uris, is_isolated=isolated, protection=protection)
    models.create_model(session, model)
    if not session.dry_run:
        click.echo(f"model: {name}")


@aws.command()
@click.option("--model", required=True, help="Name of a model of create-model.")
@click.option("--input", "input_data", required=True, metavar="S3_URI", help="A file, or a prefix of files.")
@click.option("--output", required=True, metavar="S3_URI", help="Prefix for the .out files.")
@transform_options
@click.option("--instance-type", default="ml.m5.2xlarge", show_default=True, help="Instance type.")
@click.option("--instance-count", default=1, show_default=True, help="Number of instances, which share the files.")
@with_options(*output_protection)
@job_options("multimodal-transform")
@account_options
def transform(
    model: str,
    input_data: str,
    output: str,
    instance_type: str,
    instance_count: int,
    name: str | None,
    wait: bool,
    **options: Any,
) -> None:
    """Run a batch transform job on SageMaker."""
    from multimodal_algo.aws import jobs
    from multimodal_algo.aws.requests import Transform

    session, job = session_of(options), named(name, "multimodal-transform")
    protection, settings = protection_of(options), transform_settings(options)
    request = Transform(model, input_data, output, settings, instance_type, instance_count, protection)
    jobs.transform(session, job, request)
    follow(session, jobs.TRANSFORM, job, wait)
    if wait and not session.dry_run:
        click.echo(f"predictions: {output}")


@aws.command()
@click.argument("name")
@region_option
def status(name: str, **options: Any) -> None:
    """Show the status of the job, endpoint, algorithm or model package NAME, and the reason if it failed."""
    from multimodal_algo.aws.jobs import find, summary

    for line in summary(*find(session_of(options), name)):
        click.echo(line)


@aws.command()
@click.argument("name")
@account_options
def stop(name: str, **options: Any) -> None:
    """Stop the training, transform or tuning job NAME. A training job keeps its checkpoints."""
    from multimodal_algo.aws import jobs

    session = session_of(options)
    kind = jobs.stop(session, name)
    if not session.dry_run:
        click.echo(f"{kind.title} {name} is stopping. Its status: multimodal-algo aws status {name}")


@aws.command()
@click.argument("name")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for the files.")
@region_option
def download(name: str, output: Path, **options: Any) -> None:
    """Fetch the files of the job NAME: model.tar.gz and output.tar.gz, or the answers of a transform job."""
    from multimodal_algo.aws import jobs

    for path in jobs.download(session_of(options), name, output):
        click.echo(path)


def _training_of(options: dict[str, Any]) -> Training:
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
        count=options["instance_count"],
        volume_gb=options["volume_gb"],
        max_runtime_s=options["max_runtime"],
        input_mode=options["input_mode"],
        spot=options["spot"],
        max_wait_s=options["max_wait"],
        checkpoints=options["checkpoints"],
        sharded=options["sharded"],
        keep_alive_s=options["keep_alive"],
        protection=protection_of(options),
    )
