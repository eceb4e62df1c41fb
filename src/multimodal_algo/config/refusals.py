"""Error messages about hyperparameters that are unknown or have an invalid value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from multimodal_algo.config.fields import as_string, bounds, choices, kind_of, type_of


def unknown_name(name: str, known: Sequence[str]) -> str:
    """Return the message about a name that is not a hyperparameter. It suggests the nearest of the `known` names."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}."
    return f"Unknown hyperparameter '{name[:60]}': {hint}"


def invalid_value(error: ValidationError, fields: Mapping[str, FieldInfo]) -> str:
    """Return the message about the first invalid value of a pydantic error, from the declared `fields` by name."""
    first = error.errors()[0]
    name = str(first["loc"][0])
    field = fields[name]
    if type_of(field) == "Categorical":
        values = choices(field)
        close = difflib.get_close_matches(str(first["input"]).lower(), values, n=1, cutoff=0.5)
        wanted = f"one of {', '.join(values)}" + (f" (did you mean '{close[0]}'?)" if close else "")
    else:
        low, high = bounds(field)
        kind = "an integer" if kind_of(field) is int else "a number"
        wanted = f"{kind} from {as_string(low)} to {as_string(high)}"
    return f"The hyperparameter {name} is '{str(first['input'])[:60]}': it must be {wanted}."
