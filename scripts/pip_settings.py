"""Print this machine's settings of the package index as a pip configuration for a build of the images.

    python3 scripts/pip_settings.py >pip.conf

pip takes a setting from the environment, then from the section of its command, then from ``[global]``. The build has
one section with the values that hold for ``pip install`` here. Paths of this machine do not exist inside a build, and
are left out.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping

_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout", "default-timeout", "retries", "proxy")
# The strongest comes last.
_SECTIONS = ("global", "install", ":env:")


def settings_of(listing: str) -> dict[str, list[str]]:
    """Return the values of each setting in the output of ``pip config list``.

    A line is ``section.name='value'``. A value of several lines, as of several indexes, has them between newlines.
    """
    values: dict[tuple[str, str], list[str]] = {}
    for line in listing.splitlines():
        key, separator, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if separator and name in _SETTINGS:
            parts = [part for part in str(ast.literal_eval(value)).split() if "file:" not in part]
            values[section, name] = parts
    chosen = {name: values[section, name] for section in _SECTIONS for name in _SETTINGS if (section, name) in values}
    return {name: parts for name, parts in chosen.items() if parts}


def configuration(settings: Mapping[str, list[str]]) -> str:
    """Return the text of a configuration with one section."""
    lines = [f"{name} =\n    " + "\n    ".join(parts) for name, parts in settings.items()]
    return "\n".join(["[global]", *lines, ""])


def main() -> None:
    """Ask the pip of this Python."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    print(configuration(settings_of(listing)), end="")


if __name__ == "__main__":
    main()
