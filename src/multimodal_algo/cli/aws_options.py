"""Options and steps that the commands of ``multimodal-algo aws`` share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from multimodal_algo.cli.options import COMMAND, channel_options, hyperparameter_option, name_options, pairs

if TYPE_CHECKING:
    from multimodal_algo.aws.jobs import Kind
    from multimodal_algo.aws.protection import Protection
    from multimodal_algo.aws.session import Session

ALGORITHM_HELP = "ARN of the algorithm, or the name of one in the same account."
_NETWORK = (
    click.option("--subnets", metavar="ID,…", help="Subnets of a VPC, through which the containers reach S3."),
    click.option("--security-groups", metavar="ID,…", help="Security groups of the VPC."),
)
_VOLUME_KEY = click.option("--volume-kms-key", metavar="KEY", help="KMS key of the disks.")
_OUTPUT_KEY = click.option("--output-kms-key", metavar="KEY", help="KMS key of what is written to S3.")
_TAG = click.option(
    "--resource-tag", "tags", multiple=True, metavar="NAME=VALUE", help="A tag of the resource. Repeatable."
)
_TRAFFIC = click.option("--encrypt-traffic", is_flag=True, help="Encrypt what instances send to each other.")

training_protection: tuple[Any, ...] = (*_NETWORK, _VOLUME_KEY, _OUTPUT_KEY, _TRAFFIC, _TAG)
"""Options for network, keys and tags of training and tuning jobs, which `protection_of` reads."""
model_protection: tuple[Any, ...] = (*_NETWORK, _TAG)
"""Options for network and tags of models, which `protection_of` reads."""
output_protection: tuple[Any, ...] = (_VOLUME_KEY, _OUTPUT_KEY, _TAG)
"""Options for keys and tags of transform jobs and endpoints, which `protection_of` reads."""

tags_alone: tuple[Any, ...] = (_TAG,)
"""Options for tags of algorithms, which `protection_of` reads."""


def with_options(*options: Any) -> Callable[[COMMAND], COMMAND]:
    """Return a decorator that adds options to a command, in this order."""

    def decorate(command: COMMAND) -> COMMAND:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def account_options(command: COMMAND) -> COMMAND:
    """Add the options that every command has that changes something in the AWS account."""
    command = region_option(command)
    return click.option("--dry-run", is_flag=True, help="Print the requests, and send nothing.")(command)


def region_option(command: COMMAND) -> COMMAND:
    """Add the option for the AWS region to a command."""
    return click.option("--region", help="Region. By default that of the environment or of the profile.")(command)


def wait_option(help_text: str) -> Callable[[COMMAND], COMMAND]:
    """Return a decorator that adds the option whether to wait for the result."""
    return click.option("--wait/--no-wait", default=True, show_default=True, help=help_text)


def job_options(prefix: str) -> Callable[[COMMAND], COMMAND]:
    """Return a decorator that adds the options of a job. By default, the job's name begins with `prefix`."""
    name = click.option("--name", help=f"Name of the job. By default {prefix} and the time.")
    return with_options(name, wait_option("Wait until the job is done."))


def named(name: str | None, prefix: str) -> str:
    """Return the name of a job: the given name, or `prefix` and the time now."""
    from multimodal_algo.aws.jobs import new_name

    return name or new_name(prefix)


def training_options(command: COMMAND) -> COMMAND:
    """Add the options that training jobs and tuning jobs have in common."""
    return with_options(
        click.option("--algorithm-arn", required=True, help=ALGORITHM_HELP),
        click.option("--role", required=True, help="ARN of the role of the job."),
        channel_options(metavar="S3_URI"),
        click.option("--output", required=True, metavar="S3_URI", help="Prefix for artifacts."),
        name_options,
        hyperparameter_option,
        click.option("--instance-type", default="ml.m5.2xlarge", show_default=True, help="Instance type."),
        click.option(
            "--instance-count", default=1, show_default=True, help="Number of instances that train together in a job."
        ),
        click.option(
            "--sharded", is_flag=True, help="Give each instance a share of the files of train and validation."
        ),
        click.option("--volume-gb", default=50, show_default=True, help="Disk for data and temporary files."),
        click.option(
            "--max-runtime", default=24 * 3600, show_default=True, help="Seconds after which a job is stopped."
        ),
        click.option(
            "--input-mode",
            type=click.Choice(["File", "FastFile", "Pipe"]),
            default="File",
            show_default=True,
            help="Input mode. A channel that does not take it arrives by File.",
        ),
        click.option("--spot", is_flag=True, help="Run on spot capacity. Needs --checkpoints."),
        click.option(
            "--max-wait",
            type=int,
            help="With --spot: seconds of the job with its waits. By default an hour more than --max-runtime. 3600 for "
            "an algorithm of the Marketplace.",
        ),
        click.option("--checkpoints", metavar="S3_URI", help="Prefix for checkpoints."),
        click.option(
            "--keep-alive",
            default=0,
            show_default=True,
            help="Seconds for which the instances wait for the next job (a warm pool).",
        ),
        *training_protection,
    )(command)


def protection_of(options: dict[str, Any]) -> Protection:
    """Return the network, keys and tags that the options of a command set, and remove these options."""
    from multimodal_algo.aws.protection import Protection

    return Protection(
        subnets=_listed(options.pop("subnets", None)),
        security_groups=_listed(options.pop("security_groups", None)),
        volume_key=options.pop("volume_kms_key", None),
        output_key=options.pop("output_kms_key", None),
        encrypt_traffic=options.pop("encrypt_traffic", False),
        tags=pairs(options.pop("tags", ()), "--resource-tag"),
    )


def session_of(options: dict[str, Any]) -> Session:
    """Return the session that the options of a command set, and remove the options of `account_options`."""
    from multimodal_algo.aws.session import Session

    return Session(options.pop("region"), options.pop("dry_run", False), click.echo)


def follow(session: Session, kind: Kind, name: str, is_wanted: bool) -> None:
    """Wait for a resource. If no wait is wanted, print the command that shows its status."""
    from multimodal_algo.aws.jobs import wait

    if session.dry_run:
        return
    if is_wanted:
        wait(session, kind, name)
    else:
        click.echo(f"{kind.title} {name} has started. Its status: multimodal-algo aws status {name}")


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
