"""Command-line options that several commands have in common."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click

from multimodal_algo.config.channels import CHANNELS
from multimodal_algo.config.transform import Declaration, TransformSettings, declarations
from multimodal_algo.core.errors import UserError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FILE_OR_FOLDER = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)
COMMAND = TypeVar("COMMAND", bound=Callable[..., Any])


class Location(click.Path):
    """The type of an option that takes a local path, a ``file://`` URI or an ``s3://`` URI.

    An ``s3://`` URI is not looked up here.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the value of the option and convert it, see `click.ParamType.convert`."""
        from multimodal_algo.core.storage import is_s3, local_path

        return value if is_s3(value) else super().convert(local_path(value), param, ctx)


DATA = Location(exists=True, path_type=Path)
DATA_FILE = Location(exists=True, dir_okay=False, path_type=Path)
NEW_DATA_FOLDER = Location(file_okay=False, path_type=Path)


def channel_options(**options: Any) -> Callable[[COMMAND], COMMAND]:
    """Add to a command one option for each channel (named input) of a training job.

    Parameters
    ----------
    options
        Arguments of `click.option` that all these options have.
    """

    def decorate(command: COMMAND) -> COMMAND:
        for channel in reversed(CHANNELS):
            option = click.option(
                f"--{channel.name}", required=channel.is_required, help=channel.description, **options
            )
            command = option(command)
        return command

    return decorate


def channel_values(options: dict[str, Any]) -> dict[str, Any]:
    """Remove the values of `channel_options` from `options`. Return those that are set, by name of the channel."""
    values = {channel.name: options.pop(channel.name) for channel in CHANNELS}
    return {name: value for name, value in values.items() if value is not None}


hyperparameter_option = click.option(
    "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter. Repeatable."
)


def name_options(command: COMMAND) -> COMMAND:
    """Add to a command the options for a table's own column names: ``--label``, ``--id`` and ``--columns``."""
    options = [
        click.option("--label", metavar="NAME", help="Name of the column to predict (label)."),
        click.option("--id", metavar="NAME", help="Name of the column with the names of rows (ID)."),
        click.option(
            "--columns",
            metavar="NAME=KIND,…",
            help="Kinds of columns without a suffix: text, num, cat, image, date or drop. Others are found from "
            "the cells. auto finds all.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def hyperparameters_of(options: dict[str, Any]) -> dict[str, str]:
    """Remove the values of `hyperparameter_option` and `name_options` from `options`.

    Return them as hyperparameters.
    """
    names = {name: value for name in ("label", "id", "columns") if (value := options.pop(name)) is not None}
    return pairs(options.pop("parameters"), "-p") | names


def search_options(command: COMMAND) -> COMMAND:
    """Add to a command the options of a search for hyperparameters."""
    options = [
        click.option(
            "--range",
            "ranges",
            multiple=True,
            required=True,
            metavar="NAME=LOW:HIGH",
            help="Range of a hyperparameter, or its values as NAME=A,B,C. Repeatable.",
        ),
        click.option("--objective", default="log_loss", show_default=True, help="Metric that the search optimises."),
        click.option("--jobs", "job_count", default=10, show_default=True, help="Number of training jobs."),
        click.option(
            "--strategy",
            type=click.Choice(["Bayesian", "Random"]),
            default="Bayesian",
            show_default=True,
            help="Bayesian learns from finished jobs. Random does not.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def transform_options(command: COMMAND) -> COMMAND:
    """Add to a command one option for each setting of a batch transform job, see `TransformSettings`."""
    for declared in reversed(declarations()):
        command = _option(declared)(command)
    return command


def transform_settings(options: dict[str, Any]) -> TransformSettings:
    """Remove the values of `transform_options` from `options`. Return them as settings."""
    values = {declared.name: options.pop(declared.name) for declared in declarations()}
    return TransformSettings.of_options(values | {"env": pairs(values["env"], "--env")})


def _option(declared: Declaration) -> Callable[[COMMAND], COMMAND]:
    flag = f"--{declared.name.replace('_', '-')}"
    if declared.kind is dict:
        return click.option(flag, multiple=True, metavar="NAME=VALUE", help=declared.meaning)
    kind: Any = click.Choice(declared.choices) if declared.choices else declared.kind
    # An enumeration's member is a choice of click by its name, and not by its value.
    default = str(declared.default) if isinstance(declared.default, StrEnum) else declared.default
    return click.option(flag, type=kind, default=default, show_default=default is not None, help=declared.meaning)


def pairs(options: tuple[str, ...], flag: str) -> dict[str, str]:
    """Split each value of an option that is given as ``NAME=VALUE``. Return the values by name.

    Parameters
    ----------
    options
        Values of the option.
    flag
        Name of the option, for messages.

    Raises
    ------
    UserError
        A value is not written as ``NAME=VALUE``.
    """
    values: dict[str, str] = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator or not name:
            raise UserError(f"{flag} {option}: write it as NAME=VALUE.")
        values[name] = value
    return values
