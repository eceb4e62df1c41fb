"""Options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from multimodal_algo.core.errors import UserError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FILE_OR_FOLDER = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
COMMAND = TypeVar("COMMAND", bound=Callable[..., Any])


class Location(click.Path):
    """A path as `click.Path` takes it, or a ``file://`` URI of one, or an ``s3://`` URI, which is looked for later."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType.convert`."""
        from multimodal_algo.core.storage import is_s3, local_path

        return value if is_s3(value) else super().convert(local_path(value), param, ctx)


DATA = Location(exists=True, path_type=Path)
DATA_FILE = Location(exists=True, dir_okay=False, path_type=Path)
NEW_DATA_FOLDER = Location(file_okay=False, path_type=Path)


def transform_options(command: COMMAND) -> COMMAND:
    """The settings of a batch transform job, here and there: the parameters of the command are `TransformJob`'s."""
    options = [
        click.option("--content-type", default="text/csv", show_default=True),
        click.option("--accept", default="text/csv", show_default=True),
        click.option("--split-type", type=click.Choice(["Line", "None"]), default="Line", show_default=True),
        click.option("--assemble-with", type=click.Choice(["Line", "None"]), default="Line", show_default=True),
        click.option("--compression-type", type=click.Choice(["None", "Gzip"]), default="None", show_default=True),
        click.option(
            "--strategy", type=click.Choice(["MultiRecord", "SingleRecord"]), help="What the server says, else."
        ),
        click.option(
            "--max-payload-mb",
            type=int,
            help="What the server says, or 6, else. 0: each file is one stream of any size.",
        ),
        click.option("--max-concurrent-transforms", type=int, help="What the server says, or 1, else."),
        click.option("--input-filter", default="$", show_default=True, help="JSONPath of what the server is sent."),
        click.option("--join-source", type=click.Choice(["None", "Input"]), default="None", show_default=True),
        click.option("--output-filter", default="$", show_default=True, help="JSONPath of what is kept, joined."),
        click.option("--invocations-timeout-s", default=600, show_default=True, help="Of a request; 1 to 3600."),
        click.option("--invocations-max-retries", default=3, show_default=True, help="Of a request; 0 to 3."),
        click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment of the server; repeatable."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def pairs(options: tuple[str, ...], flag: str) -> dict[str, str]:
    """``NAME=VALUE`` as it was given to `flag`, once or more."""
    found: dict[str, str] = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator or not name:
            raise UserError(f"{flag} {option}: write it as NAME=VALUE.")
        found[name] = value
    return found
