"""Commands of ``multimodal-algo aws`` for endpoints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multimodal_algo.cli.aws_options import (
    account_options,
    output_protection,
    protection_of,
    session_of,
    wait_option,
    with_options,
)
from multimodal_algo.core.errors import UserError

if TYPE_CHECKING:
    from multimodal_algo.aws.endpoints import Endpoint, Scaling, Serverless


@click.command()
@click.argument("name")
@click.option("--model", required=True, help="Name of a model of create-model.")
@click.option("--instance-type", default="ml.m5.xlarge", show_default=True, help="Instance type.")
@click.option("--instance-count", default=1, show_default=True, help="Number of instances at the start.")
@click.option(
    "--serverless", is_flag=True, help="No instances: pay for each request. Needs a model that is not isolated."
)
@click.option("--memory-mb", default=6144, show_default=True, help="With --serverless: memory, 1024 to 6144.")
@click.option("--concurrency", default=5, show_default=True, help="With --serverless: most requests at a time.")
@click.option("--async-output", metavar="S3_URI", help="Answer into this prefix: an asynchronous endpoint.")
@click.option("--scale", metavar="LEAST:MOST", help="Scale the number of instances by the load. LEAST may be 0 for an "
              "asynchronous endpoint.")  # fmt: skip
@click.option(
    "--scale-target",
    type=float,
    help="With --scale: requests in a minute for one instance (60), or waiting requests if asynchronous (5).",
)
@with_options(*output_protection)
@wait_option("Wait until the endpoint is in service.")
@account_options
def deploy(name: str, wait: bool, **options: Any) -> None:
    """Create the endpoint NAME of a model: in real time, serverless or asynchronous."""
    from multimodal_algo.aws import endpoints
    from multimodal_algo.aws.jobs import ENDPOINT

    session = session_of(options)
    endpoints.deploy(session, _endpoint_of(name, options), is_wanted=wait)
    if session.dry_run:
        return
    if wait:
        click.echo(f"endpoint: {name}. It costs money until: multimodal-algo aws delete-endpoint {name}")
    else:
        click.echo(f"{ENDPOINT.title} {name} has started. Its status: multimodal-algo aws status {name}")


@click.command()
@click.argument("name")
@click.argument("records")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File, instead of standard output.")
@click.option("--content-type", default="text/csv", show_default=True, help="Content type of the records.")
@click.option("--accept", default="text/csv", show_default=True, help="Content type of the answer.")
@account_options
def invoke(name: str, records: str, output: Path | None, content_type: str, accept: str, **options: Any) -> None:
    """Send RECORDS to the endpoint NAME, and print the answer.

    RECORDS is a file, or - for the standard input. For an asynchronous endpoint it is an S3 URI, and the command waits
    for the answer.
    """
    from multimodal_algo.aws.invocations import Invocation, wait_for_answer

    session, invocation = session_of(options), Invocation(name, content_type, accept)
    if records.startswith("s3://"):
        locations = invocation.send_async(session, records)
        answer = b"" if session.dry_run else wait_for_answer(session, locations)
    else:
        answer = invocation.send(session, _content(records))
    if session.dry_run:
        return
    if output is not None:
        output.write_bytes(answer)
    else:
        sys.stdout.buffer.write(answer)


@click.command("delete-endpoint")
@click.argument("name")
@account_options
def delete_endpoint(name: str, **options: Any) -> None:
    """Delete the endpoint NAME with its scaling and its configuration. Its model stays."""
    from multimodal_algo.aws.endpoints import delete

    session = session_of(options)
    delete(session, name)
    if not session.dry_run:
        click.echo(f"endpoint {name} is deleted")


def _content(records: str) -> bytes:
    if records == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(records).read_bytes()
    except OSError as error:
        raise UserError(f"{records} cannot be read ({error.strerror}). Give a file, - or an S3 URI.") from None


def _endpoint_of(name: str, options: dict[str, Any]) -> Endpoint:
    from multimodal_algo.aws.endpoints import Endpoint

    return Endpoint(
        name,
        options["model"],
        options["instance_type"],
        options["instance_count"],
        serverless=_serverless_of(options),
        async_output=options["async_output"],
        scaling=_scaling_of(options),
        protection=protection_of(options),
    )


def _serverless_of(options: dict[str, Any]) -> Serverless | None:
    from multimodal_algo.aws.endpoints import Serverless

    return Serverless(options["memory_mb"], options["concurrency"]) if options["serverless"] else None


def _scaling_of(options: dict[str, Any]) -> Scaling | None:
    from multimodal_algo.aws.endpoints import Scaling

    text = options["scale"]
    if text is None:
        return None
    least, _, most = text.partition(":")
    if not (least.isdecimal() and most.isdecimal()):
        raise UserError(f"--scale {text}: write it as LEAST:MOST, for example 1:4.")
    default = 60.0 if options["async_output"] is None else 5.0
    return Scaling(int(least), int(most), options["scale_target"] or default)
