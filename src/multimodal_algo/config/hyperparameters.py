"""The hyperparameters: one typed model that parses a job's strings and prints the platform's specification.

Nothing about a hyperparameter is written down twice: name, type, range, default and description of
``hyperparameter_specification.json`` come from the fields of `HyperParameters`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic.fields import FieldInfo

from multimodal_algo.config.inference import BadRows, Engine, parse_fields
from multimodal_algo.core.errors import UserError

Quality = Literal["toy", "very_light", "light", "default", "high", "best"]
Customised = Literal[
    "text_hyperparameters", "image_hyperparameters", "tabular_hyperparameters", "fusion_hyperparameters"
]
ProblemTypes = Literal["auto", "binary", "multiclass", "regression"]
EvalMetric = Literal["auto", "accuracy", "log_loss", "f1_macro", "roc_auc", "balanced_accuracy", "rmse", "mae", "r2"]
OnBadRow = Literal["error", "skip"]
OnCheckpointMismatch = Literal["error", "restart"]
Switch = Literal["true", "false"]
Distribution = Literal["auto", "off"]
DistillFrom = Literal["none", "model"]

_UNSET = frozenset({"", "none", "null"})
_TUNABLE: dict[str, JsonValue] = {"tunable": True}


class HyperParameters(BaseModel):
    """What a user can set for a training job; the guide's five come first, with the guide's defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_hours: float = Field(0, ge=0, le=672, description="Hours of the wall-clock budget for fitting.")
    n_mins: float = Field(5, ge=0, le=40320, description="Minutes of the wall-clock budget for fitting.")
    n_secs: float = Field(0, ge=0, le=2419200, description="Seconds of the wall-clock budget for fitting.")
    n_epochs: int = Field(
        50,
        ge=1,
        le=10000,
        description="Most epochs of the fusion network; it stops earlier where its folds say so.",
        json_schema_extra=_TUNABLE,
    )
    quality: Quality = Field("toy", description="How much each modality's AutoGluon models try.")
    problem_type: ProblemTypes = Field(
        "auto",
        description="What the label is. By default it is detected: numbers of which most differ are predicted as "
        "numbers (regression), all else as classes.",
    )
    eval_metric: EvalMetric = Field(
        "auto",
        description="The metric by which ways to combine the modalities are chosen: log_loss, or rmse of a regression, "
        "where it is not set.",
    )
    class_weights: str = Field(
        "even",
        description="Weights of the classes: even; balanced, so that rare classes count as much as frequent ones; or "
        'JSON such as {"rare": 5}, where classes that are not named have weight 1.',
    )
    image_backbone: str = Field(
        "resnet50",
        description="Frozen network that turns images into vectors: a torchvision name (resnet50, mobilenet_v2, ...) "
        "or the path of a state dict.",
    )
    text_backbone: str = Field(
        "all-MiniLM-L6-v2",
        description="Frozen network that turns text into vectors: all-MiniLM-L6-v2 or the path of a "
        "sentence-transformers model directory.",
    )
    text_hyperparameters: str = Field(
        "{}",
        description='JSON for the text columns: AutoMM\'s dotted keys, such as {"optim.lr": 1e-4}, fine-tune a network '
        'on them; {"WIDE": {"C": 3}} sets the linear model of words and vectors.',
    )
    image_hyperparameters: str = Field(
        "{}",
        description='JSON for the image columns: AutoMM\'s dotted keys, such as {"optim.max_epochs": 5}, fine-tune a '
        'network on them; {"WIDE": {"C": 3}} sets the linear model of vectors.',
    )
    tabular_hyperparameters: str = Field(
        "{}",
        description="JSON of AutoGluon's models for numbers and categories, which replace the recipe's, such as "
        '{"GBM": {"num_boost_round": 300}, "CAT": {}}.',
    )
    fusion_hyperparameters: str = Field(
        "{}",
        description="JSON for the fusion network: learning_rate, weight_decay, dropout, batch_size.",
    )
    min_completeness: float = Field(
        0.25,
        ge=0,
        le=1,
        description="A row enters a modality only if at least this share of the modality's cells is filled "
        "(a row with none filled never does).",
        json_schema_extra=_TUNABLE,
    )
    on_bad_row: OnBadRow = Field(
        "error",
        description="What to do with rows that cannot be read: stop and name file, row and column, or skip them and "
        "list the first 100 in bad_rows.csv of the output.",
    )
    max_bad_row_fraction: float = Field(
        0.01, ge=0, le=1, description="Share of rows that on_bad_row=skip may skip; above it training stops."
    )
    on_checkpoint_mismatch: OnCheckpointMismatch = Field(
        "error",
        description="What to do with checkpoints of a job with other data, hyperparameters or versions: stop, or drop "
        "them and start anew.",
    )
    never_worse: Switch = Field(
        "true",
        description="With a model channel: whether the earlier model ships where it answers held-out rows, which it "
        "has not seen, better than the new one.",
    )
    distill_from: DistillFrom = Field(
        "none",
        description="With model, the artifact of the model channel is a teacher of the same columns and classes: a "
        "smaller recipe learns from its answers beside the labels, and nothing of it ships.",
    )
    distribution: Distribution = Field(
        "auto",
        description="Of a job on several instances, or several GPUs: auto spreads reading, fitting and fine-tuning "
        "over all of them by Ray; off trains on the first one alone.",
    )
    inference_output: str = Field(
        "",
        description="Fields of an answer, separated by commas, of: id, predicted_label, probability, probabilities, "
        "labels, modality_weights, error. By default id (if there is one), predicted_label and probability. Kept in "
        "the artifact; SAGEMAKER_INFERENCE_OUTPUT overrides it.",
    )
    bad_rows: BadRows = Field(
        BadRows.AUTO,
        description="What inference does with rows that cannot be read: report answers them with their ID and empty "
        "fields, error refuses the request; auto is report in batch transform and error on endpoints. Kept in the "
        "artifact; BAD_ROWS overrides it.",
    )
    inference_engine: Engine = Field(
        Engine.AUTO,
        description="What runs the frozen networks: torch, onnx (ONNX Runtime) or tensorrt; auto is onnx on a CPU and "
        "torch on a GPU. Kept in the artifact; INFERENCE_ENGINE overrides it.",
    )
    seed: int = Field(0, ge=0, le=2147483647, description="Seed of folds, splits and networks.")

    @property
    def budget_s(self) -> float:
        """The wall-clock budget of fitting, in seconds."""
        return self.n_hours * 3600 + self.n_mins * 60 + self.n_secs

    def customised(self, name: Customised) -> dict[str, Any]:
        """One of the hyperparameters that hold JSON.

        Raises
        ------
        UserError
            It is no JSON object.
        """
        try:
            values = json.loads(getattr(self, name))
        except json.JSONDecodeError as error:
            raise UserError(f"The hyperparameter {name} is no JSON ({error}): {getattr(self, name)[:80]}") from None
        if not isinstance(values, dict):
            raise UserError(f"The hyperparameter {name} must be a JSON object, such as {{}}.")
        return values

    def weights_of_classes(self) -> Mapping[str, float] | Literal["even", "balanced"]:
        """`class_weights`, where it is JSON as a mapping of labels to weights.

        Raises
        ------
        UserError
            It is none of those that its description lists.
        """
        if self.class_weights in ("even", "balanced"):
            return self.class_weights  # type: ignore[return-value]
        try:
            weights = json.loads(self.class_weights)
        except json.JSONDecodeError:
            weights = None
        if not isinstance(weights, dict) or not all(_is_weight(value) for value in weights.values()):
            raise UserError(
                f"The hyperparameter class_weights is '{self.class_weights[:80]}': it must be even, balanced, or JSON "
                'of labels and weights above 0, such as {"rare": 5}.'
            )
        return weights

    def _check_metric(self) -> None:
        of_numbers = self.eval_metric in ("rmse", "mae", "r2")
        if (
            self.eval_metric == "auto"
            or self.problem_type == "auto"
            or of_numbers == (self.problem_type == "regression")
        ):
            return
        raise UserError(
            f"The hyperparameter eval_metric is {self.eval_metric}, which does not suit {self.problem_type}."
        )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> HyperParameters:
        """Read a job's hyperparameters from the flat object of strings that the platform passes.

        Three dialects of strings occur (``True``/``None``, JSON with extra quotes, ``true``/``null``), and
        ``10.0`` for an integer; an unset value means the default. ``_tuning_objective_metric`` and
        ``sagemaker_*``, which the platform and its clients add, are passed over.

        Raises
        ------
        UserError
            An unknown name (with the nearest known one), or a value that is out of range or of another type.
        """
        known: dict[str, Any] = {}
        for name, value in values.items():
            if name == "_tuning_objective_metric" or name.startswith("sagemaker_"):
                continue
            if name not in cls.model_fields:
                raise UserError(_unknown(name, list(cls.model_fields)))
            plain = _unquoted(value)
            if _choices(cls.model_fields[name]) == ["true", "false"]:
                plain = plain.lower()
            if plain.lower() not in _UNSET:
                known[name] = _integral(plain) if cls.model_fields[name].annotation is int else plain
        try:
            parsed = cls(**known)
        except ValidationError as error:
            raise UserError(_invalid(error, cls.model_fields)) from None
        parsed.weights_of_classes()
        parsed._check_metric()
        parse_fields(parsed.inference_output, "The hyperparameter inference_output")
        if parsed.budget_s <= 0:
            raise UserError(
                "The hyperparameters n_hours, n_mins and n_secs add up to 0 seconds: give fitting some time."
            )
        return parsed


def specification() -> list[dict[str, Any]]:
    """The list for ``CreateAlgorithm``'s ``SupportedHyperParameters`` and for the console's page.

    Every value is a string; nothing with a default is required, which the platform refuses.
    Source: API, ``HyperParameterSpecification``.
    """
    return [_specified(name, field) for name, field in HyperParameters.model_fields.items()]


def specification_json() -> str:
    """`specification` as the text of ``hyperparameter_specification.json``, with a final newline."""
    return json.dumps(specification(), indent=2, ensure_ascii=False) + "\n"


def specification_markdown() -> str:
    """`specification` as the page for users, ``docs/hyperparameters.md``."""
    lines = [
        "# Hyperparameters",
        "",
        "Made from the code by `make spec`. All arrive as strings; what is not set has its default. "
        "An unknown name or a value out of range stops training. "
        "The time for fitting is the sum of `n_hours`, `n_mins` and `n_secs`.",
        "",
        "| name | default | values | tunable | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for entry in specification():
        tunable = "yes" if entry["IsTunable"] else ""
        values = _values(entry)
        lines.append(
            f"| `{entry['Name']}` | `{entry['DefaultValue']}` | {values} | {tunable} | {entry['Description']} |"
        )
    return "\n".join(lines) + "\n"


def _values(entry: Mapping[str, Any]) -> str:
    for span in entry.get("Range", {}).values():
        if "Values" in span:
            return ", ".join(f"`{value}`" for value in span["Values"])
        return f"{span['MinValue']} to {span['MaxValue']}" + (", whole" if entry["Type"] == "Integer" else "")
    return "text"


def _specified(name: str, field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    entry: dict[str, Any] = {"Name": name, "Description": field.description, "Type": _type_of(field)}
    if span := _range(field):
        entry["Range"] = span
    entry["IsTunable"] = bool(extra.get("tunable", False))
    entry["IsRequired"] = False
    entry["DefaultValue"] = _as_string(field.default)
    return entry


def _choices(field: FieldInfo) -> list[str]:
    """The values of a field that has some few; none of any other."""
    kind = field.annotation
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    return list(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else []


def _type_of(field: FieldInfo) -> str:
    if _choices(field):
        return "Categorical"
    return {int: "Integer", float: "Continuous", str: "FreeText"}[field.annotation]  # type: ignore[index]


def _range(field: FieldInfo) -> dict[str, Any] | None:
    kind = _type_of(field)
    if kind == "FreeText":
        return None
    if kind == "Categorical":
        return {"CategoricalParameterRangeSpecification": {"Values": _choices(field)}}
    low, high = _bounds(field)
    return {f"{kind}ParameterRangeSpecification": {"MinValue": _as_string(low), "MaxValue": _as_string(high)}}


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    low = next(item.ge for item in field.metadata if hasattr(item, "ge"))
    high = next(item.le for item in field.metadata if hasattr(item, "le"))
    return low, high


def _as_string(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value)


def _unquoted(value: Any) -> str:
    text = str(value).strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text)).strip()
        except json.JSONDecodeError:
            return text[1:-1].strip()
    return text


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _integral(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text


def _unknown(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}."
    return f"Unknown hyperparameter '{name}': {hint}"


def _invalid(error: ValidationError, fields: Mapping[str, FieldInfo]) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    field = fields[name]
    if _type_of(field) == "Categorical":
        values = _choices(field)
        close = difflib.get_close_matches(str(first["input"]).lower(), values, n=1, cutoff=0.5)
        wanted = f"one of {', '.join(values)}" + (f" (did you mean '{close[0]}'?)" if close else "")
    else:
        low, high = _bounds(field)
        kind = "an integer" if field.annotation is int else "a number"
        wanted = f"{kind} from {_as_string(low)} to {_as_string(high)}"
    return f"The hyperparameter {name} is '{first['input']}': it must be {wanted}."
