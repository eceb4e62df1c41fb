"""Checks of names that are often mistyped: instance types, accounts and regions. Messages suggest the nearest name."""

from __future__ import annotations

import difflib
import re
from functools import cache

from multimodal_algo.aws.model import enum_of
from multimodal_algo.core.errors import UserError

_ACCOUNT_DIGITS = 12
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d")


def instance_type(name: str, shape: str) -> str:
    """Check an instance type, and return it.

    Parameters
    ----------
    name
        Name of the instance type.
    shape
        Name in the API of the list of instance types that an operation accepts, for example ``TransformInstanceType``.

    Raises
    ------
    UserError
        The operation does not accept the instance type. The message suggests the nearest one.
    """
    known = enum_of(shape)
    if name not in known:
        raise UserError(
            f"The instance type '{name[:60]}' is not one of {shape}: did you mean '{_nearest(name, known)}'?"
        )
    return name


def account_id(text: str) -> str:
    """Check the number of an AWS account, and return it.

    Raises
    ------
    UserError
        The text is not 12 digits. If it has other characters between digits, the message suggests the digits alone.
    """
    if re.fullmatch(rf"[0-9]{{{_ACCOUNT_DIGITS}}}", text):
        return text
    digits = "".join(re.findall(r"[0-9]", text))[:_ACCOUNT_DIGITS]
    hint = f": did you mean {digits}?" if len(digits) == _ACCOUNT_DIGITS else f", and not {len(digits)}."
    raise UserError(f"'{text[:60]}' is not an account: its number has {_ACCOUNT_DIGITS} digits{hint}")


def region_name(name: str) -> str:
    """Check the form of the name of a region, and return the name. Regions that are newer than botocore are accepted.

    Raises
    ------
    UserError
        The name does not have the form of a region. The message suggests the nearest region.
    """
    if _REGION.fullmatch(name):
        return name
    close = difflib.get_close_matches(name.lower(), _regions(), n=1, cutoff=0)
    raise UserError(f"'{name[:60]}' is not a region: did you mean '{close[0]}'?")


@cache
def _regions() -> list[str]:
    from botocore.session import get_session

    return get_session().get_available_regions("sagemaker")


def _nearest(name: str, known: list[str]) -> str:
    """Return the nearest known instance type. `name` may lack the size, as ``ml.g5``, or ``ml.``, as ``g5.xlarge``."""
    full = name.lower() if name.lower().startswith("ml.") else f"ml.{name.lower()}"
    family = [each for each in known if each.startswith(f"{full.rstrip('.')}.")]
    return family[0] if family else difflib.get_close_matches(full, known, n=1, cutoff=0)[0]
