"""Options that several commands take."""

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
    """A local path, a ``file://`` URI of one, or an ``s3://`` URI. An ``s3://`` URI is not looked up here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType.convert`."""
        from multimodal_algo.core.storage import is_s3, local_path

        return value if is_s3(value) else super().convert(local_path(value), param, ctx)


DATA = Location(exists=True, path_type=Path)
DATA_FILE = Location(exists=True, dir_okay=False, path_type=Path)
NEW_DATA_FOLDER = Location(file_okay=False, path_type=Path)


def channel_options(**options: Any) -> Callable[[COMMAND], COMMAND]:
    """Add an option for each channel of a training job to a command.

    Parameters
    ----------
    options
        Arguments of `click.option` that all channels share.
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
    """Take the values of `channel_options` out of a command's options, without channels that have no value."""
    values = {channel.name: options.pop(channel.name) for channel in CHANNELS}
    return {name: value for name, value in values.items() if value is not None}


hyperparameter_option = click.option(
    "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter. Repeatable."
)


def name_options(command: COMMAND) -> COMMAND:
    """Add options for the hyperparameters with a table's own column names."""
    options = [
        click.option("--label", metavar="NAME", help="Name of the column to predict (label)."),
        click.option("--id", metavar="NAME", help="Name of the column with the names of rows (ID)."),
        click.option(
            "--columns",
            metavar="NAME=KIND,…",
            help="Kinds of columns without a suffix: text, num, cat, image or drop. Others are found from their cells. "
            "auto finds all.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def hyperparameters_of(options: dict[str, Any]) -> dict[str, str]:
    """Take the values of `hyperparameter_option` and `name_options` out of a command's options."""
    names = {name: value for name in ("label", "id", "columns") if (value := options.pop(name)) is not None}
    return pairs(options.pop("parameters"), "-p") | names


def search_options(command: COMMAND) -> COMMAND:
    """Add the options of a hyperparameter search to a command."""
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
    """Add the options of a batch transform job to a command: one for each setting of `TransformSettings`."""
    for declared in reversed(declarations()):
        command = _option(declared)(command)
    return command


def transform_settings(options: dict[str, Any]) -> TransformSettings:
    """Take the values of `transform_options` out of a command's options."""
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
    """Split the values of an option that is written as ``NAME=VALUE``.

    Parameters
    ----------
    options
        Values of the option.
    flag
        Name of the option in messages.

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
