"""The hyperparameters, each declared once as a field of `TrainingSettings` or `AnswerSettings`.

``hyperparameter_specification.json`` and ``docs/hyperparameters.md`` are made from the fields: name, type, range,
default and description. A new hyperparameter is one field.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError

from multimodal_algo.config.answer_settings import AnswerSettings
from multimodal_algo.config.choices import (
    Customised,
)
from multimodal_algo.config.client_values import read_object, unquoted
from multimodal_algo.config.decisions import read_settings
from multimodal_algo.config.fields import choices, kind_of
from multimodal_algo.config.inference import (
    listed_texts,
    missing_texts,
    parse_fields,
    parse_quantiles,
)
from multimodal_algo.config.refusals import invalid_value, unknown_name
from multimodal_algo.config.training_settings import TrainingSettings
from multimodal_algo.core.aims import DecisionSettings
from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.metrics import REGRESSION

_UNSET = frozenset({"", "none", "null"})
_DEFAULT_BUDGET_S = 300.0


class HyperParameters(AnswerSettings, TrainingSettings):
    """The hyperparameters of a training job: those of its models, and those of the answers in inference."""

    @property
    def budget_s(self) -> float:
        """The wall-clock seconds for fitting: the sum of hours, minutes and seconds, or 300 if none of them is set."""
        if not self.sets_budget:
            return _DEFAULT_BUDGET_S
        return (self.n_hours or 0) * 3600 + (self.n_mins or 0) * 60 + (self.n_secs or 0)

    @property
    def sets_budget(self) -> bool:
        """Whether the user has set the time for fitting."""
        return any(part is not None for part in (self.n_hours, self.n_mins, self.n_secs))

    @property
    def missing_texts(self) -> frozenset[str]:
        """The texts that `missing_values` lists. A cell with such a text counts as empty."""
        return missing_texts(self.missing_values)

    @property
    def group_columns(self) -> tuple[str, ...]:
        """The columns that `group_by` lists, with their suffixes and without repetitions."""
        listed = listed_texts(self.group_by, "group_by", '["author_text"]')
        return tuple(dict.fromkeys(map(self.column_names.canonical, listed)))

    @property
    def column_names(self) -> ColumnNames:
        """The user's own column names, from the hyperparameters `label`, `id` and `columns`."""
        return ColumnNames.parse(self.label, self.id, self.columns)

    @property
    def decisions(self) -> DecisionSettings:
        """The settings that decide answers: the positive class, thresholds and abstention."""
        return read_settings(
            self.positive_class, self.decision_threshold, self.abstain_below, self.target_accuracy, self.review_label
        )

    def with_names(self, names: ColumnNames) -> HyperParameters:
        """Return the hyperparameters with ``label``, ``id`` and ``columns`` set from `names`."""
        return self.model_copy(update={"label": names.label, "id": names.id, "columns": names.as_json})

    @property
    def delimiter(self) -> str:
        """The character that separates cells in CSV files. `csv_delimiter` may name it by a word, such as ``tab``."""
        return "\t" if self.csv_delimiter in ("tab", "\\t") else self.csv_delimiter

    def customised(self, name: Customised) -> dict[str, Any]:
        """Return the JSON object that the hyperparameter `name` holds.

        Raises
        ------
        UserError
            The value is not a JSON object.
        """
        return read_object(getattr(self, name), f"The hyperparameter {name}")

    def class_weights_by_label(self) -> Mapping[str, float] | Literal["even", "balanced"]:
        """Return `class_weights`: the word ``even`` or ``balanced``, or a mapping from labels to weights.

        Raises
        ------
        UserError
            The value is neither a known word nor JSON of labels and weights above 0.
        """
        if self.class_weights in ("even", "balanced"):
            return self.class_weights  # type: ignore[return-value]
        with contextlib.suppress(UserError):
            weights = read_object(self.class_weights, "class_weights")
            if all(_is_weight(value) for value in weights.values()):
                return weights
        raise UserError(
            f"The hyperparameter class_weights is '{self.class_weights[:60]}': it must be even, balanced, or JSON "
            'of labels and weights above 0, for example {"rare": 5}.'
        )

    def _check_metric(self) -> None:
        is_for_numbers = self.eval_metric in REGRESSION
        if (
            self.eval_metric == "auto"
            or self.problem_type == "auto"
            or is_for_numbers == (self.problem_type == "regression")
        ):
            return
        raise UserError(
            f"The hyperparameter eval_metric is {self.eval_metric}, which does not suit {self.problem_type}. "
            "Leave it out."
        )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> HyperParameters:
        """Read the hyperparameters of a job from the strings that the platform passes.

        Clients write values in three ways: as Python does (``True``, ``None``), as JSON does (``true``, ``null``), or
        with extra quotes. An integer may be ``10.0``. An empty value means the default. Names that the platform and its
        clients add are ignored: ``_tuning_objective_metric`` and ``sagemaker_*``.

        Raises
        ------
        UserError
            A name is unknown, or a value is out of range or of another type.
        """
        given: dict[str, Any] = {}
        for name, value in values.items():
            if name == "_tuning_objective_metric" or name.startswith("sagemaker_"):
                continue
            if name not in cls.model_fields:
                raise UserError(unknown_name(name, list(cls.model_fields)))
            plain = unquoted(_visible_tab(value) if name == "csv_delimiter" else value)
            if choices(cls.model_fields[name]) == ["true", "false"]:
                plain = plain.lower()
            if plain.lower() not in _UNSET or plain in choices(cls.model_fields[name]):
                given[name] = _integral(plain) if kind_of(cls.model_fields[name]) is int else plain
        try:
            parsed = cls(**given)
        except ValidationError as error:
            raise UserError(invalid_value(error, cls.model_fields)) from None
        parsed.class_weights_by_label()
        parsed._check_metric()
        _ = parsed.missing_texts, parsed.column_names, parsed.group_columns, parsed.decisions
        parse_fields(parsed.inference_output, "The hyperparameter inference_output")
        parse_quantiles(parsed.quantiles, "The hyperparameter quantiles")
        if parsed.budget_s <= 0:
            raise UserError(
                "The hyperparameters n_hours, n_mins and n_secs add up to 0 seconds. Set one of them above 0."
            )
        return parsed


def _visible_tab(value: Any) -> str:
    """Return the value of `csv_delimiter`, with the word ``tab`` in place of a tab.

    Elsewhere, a tab counts as white space and is removed.
    """
    return "tab" if str(value).strip(" \"'") in ("\t", "\\t") else str(value)


def _is_weight(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _integral(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else text
