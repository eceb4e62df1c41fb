"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path

import click

from multimodal_algo.errors import UserError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FILE_OR_FOLDER = click.Path(exists=True, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
NEW_FOLDER = click.Path(file_okay=False, path_type=Path)


def pairs(options: tuple[str, ...], flag: str) -> dict[str, str]:
    """``NAME=VALUE`` as it was given to `flag`, once or more."""
    found: dict[str, str] = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator or not name:
            raise UserError(f"{flag} {option}: write it as NAME=VALUE.")
        found[name] = value
    return found
