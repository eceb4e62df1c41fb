"""Makes ``hyperparameter_specification.json`` and ``docs/hyperparameters.md`` from the declared hyperparameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from multimodal_algo.config.fields import as_string, bounds, choices, type_of
from multimodal_algo.config.hyperparameters import HyperParameters


def specification() -> list[dict[str, Any]]:
    """Return the hyperparameters as the field ``SupportedHyperParameters`` of a ``CreateAlgorithm`` request.

    The SageMaker console shows them too. Every value is a string. No hyperparameter is required, because SageMaker
    refuses a required one with a default. Source: API, ``HyperParameterSpecification``.
    """
    return [_specified(name, field) for name, field in HyperParameters.model_fields.items()]


def specification_json() -> str:
    """Return the content of ``hyperparameter_specification.json``, with a final newline."""
    return json.dumps(specification(), indent=2, ensure_ascii=False) + "\n"


def specification_markdown() -> str:
    """Return the content of ``docs/hyperparameters.md``, with a final newline."""
    lines = [
        "# Hyperparameters",
        "",
        "`make spec` writes this page from the code. All values arrive as strings. "
        "A hyperparameter that is not set has its default. "
        "An unknown name or a value out of range stops training. "
        "The time for fitting is the sum of `n_hours`, `n_mins` and `n_secs`, or 5 minutes where none of them is set. "
        "They have no default of their own: `n_secs=30` alone means 30 seconds.",
        "",
        "| name | default | values | tunable | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for entry in specification():
        tunable = "yes" if entry["IsTunable"] else ""
        values = _values(entry)
        default = f"`{entry['DefaultValue']}`" if "DefaultValue" in entry else ""
        lines.append(f"| `{entry['Name']}` | {default} | {values} | {tunable} | {entry['Description']} |")
    return "\n".join(lines) + "\n"


def _values(entry: Mapping[str, Any]) -> str:
    for span in entry.get("Range", {}).values():
        if "Values" in span:
            return ", ".join(f"`{value}`" for value in span["Values"]).replace("|", r"\|")
        return f"{span['MinValue']} to {span['MaxValue']}" + (", whole" if entry["Type"] == "Integer" else "")
    return "text"


def _specified(name: str, field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    entry: dict[str, Any] = {"Name": name, "Description": field.description, "Type": type_of(field)}
    if span := _range(field):
        entry["Range"] = span
    entry["IsTunable"] = bool(extra.get("tunable", False))
    entry["IsRequired"] = False
    if field.default is not None:
        entry["DefaultValue"] = as_string(field.default)
    return entry


def _range(field: FieldInfo) -> dict[str, Any] | None:
    kind = type_of(field)
    if kind == "FreeText":
        return None
    if kind == "Categorical":
        return {"CategoricalParameterRangeSpecification": {"Values": choices(field)}}
    low, high = bounds(field)
    return {f"{kind}ParameterRangeSpecification": {"MinValue": as_string(low), "MaxValue": as_string(high)}}
