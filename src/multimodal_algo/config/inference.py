"""Options of a served model: the fields of its answers, how it treats bad rows, and the engine of its networks.

Hyperparameters of the training job set them, and the artifact stores them, because clients of Marketplace algorithms
cannot set environment variables. Environment variables override the stored options.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, FeatureSchema
from multimodal_algo.core.task import Task
from multimodal_algo.core.values import trimmed


class Engine(StrEnum):
    """The library that computes the networks. ``auto`` is the fastest exact one on a CPU, and torch on a GPU.

    `Backbone.use_graph` has the order in which ``auto`` tries engines.
    """

    AUTO = "auto"
    TORCH = "torch"
    ONNX = "onnx"
    OPENVINO = "openvino"
    """OpenVINO on a CPU."""
    TENSORRT = "tensorrt"


class BadRows(StrEnum):
    """The treatment of rows that cannot be read.

    ``report`` answers such a row with empty fields. ``error`` refuses the request. ``auto`` is ``report`` in batch
    transform and ``error`` otherwise.
    """

    AUTO = "auto"
    REPORT = "report"
    """The answer has their ID and empty fields."""
    ERROR = "error"
    """The request is refused."""


class InferenceId(StrEnum):
    """Whether request lines have the ID column that the training file had.

    A content type can say the same with ``id=``.
    """

    PRESENT = "present"
    ABSENT = "absent"
    """Lines lack it, for example after an input filter."""


class UnknownKeys(StrEnum):
    """The treatment of keys in a JSON row that are not columns of the model: ignore them, or refuse the row."""

    IGNORE = "ignore"
    """They are counted and logged."""
    ERROR = "error"
    """Their row is a bad row."""


class Field(StrEnum):
    """A field of an answer. SageMaker Autopilot has the same names, except `ID` and those after `LABELS`."""

    ID = "id"
    PREDICTED_LABEL = "predicted_label"
    PROBABILITY = "probability"
    """Probability of the predicted label."""
    PROBABILITIES = "probabilities"
    """Probabilities of all labels, in the order of ``labels``."""
    LABELS = "labels"
    MODALITY_WEIGHTS = "modality_weights"
    """Share of each modality in the prediction."""
    PREDICTION_SET = "prediction_set"
    """Labels, the likeliest first. The true label is among them in a chosen share of rows, the coverage."""
    PREDICTION_INTERVAL = "prediction_interval"
    """Lower and upper bound. The true number is between them in a chosen share of rows, the coverage."""
    QUANTILES = "quantiles"
    """A number for each level, a probability. The true number is below it with that probability."""
    BEST_GUESS = "best_guess"
    """The likely class, also if ``predicted_label`` leaves the row to a person."""
    NOVELTY = "novelty"
    """How unlike the training rows the row is: the share of them that are less unusual, from 0 to 1."""
    REASONS = "reasons"
    """How much each cell of the row moved the answer, by column, the largest effect first."""
    ERROR = "error"
    """Reason why the row cannot be read."""

    @property
    def heading(self) -> str:
        """The name of the field in an answer: in a CSV header, or as a key of a JSON object."""
        return ID if self is Field.ID else self.value


_Choice = TypeVar("_Choice", bound=StrEnum)
_OF_CLASSES = frozenset({Field.PROBABILITY, Field.PROBABILITIES, Field.LABELS, Field.PREDICTION_SET, Field.BEST_GUESS})
_OF_NUMBERS = frozenset({Field.PREDICTION_INTERVAL, Field.QUANTILES})
LEAST_COVERAGE, GREATEST_COVERAGE = 0.5, 0.999


@dataclass(frozen=True)
class InferenceOptions:
    """The options of a served model.

    Parameters
    ----------
    fields
        Fields of each answer, in order.
    refuse_bad_rows
        Whether a request with a row that cannot be read is refused.
    engine
        Engine of the networks.
    id_absent
        Whether lines lack the ID that the model was trained with.
    refuse_unknown_keys
        Whether a JSON row with a key that is not a column is a bad row.
    has_default_fields
        Whether no setting lists the fields. Answers to lines without ID then have no ID.
    coverage
        Share of new rows whose true label is to be in the prediction set or the prediction interval.
    quantiles
        Levels of the field ``quantiles``, each above 0 and below 1.
    """

    fields: tuple[Field, ...]
    refuse_bad_rows: bool
    engine: Engine
    id_absent: bool = False
    refuse_unknown_keys: bool = False
    has_default_fields: bool = False
    coverage: float = 0.9
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)

    @classmethod
    def of(
        cls,
        hyperparameters: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        schema: FeatureSchema,
        task: Task,
        is_batch: bool,
        may_review: bool = False,
    ) -> InferenceOptions:
        """Read the options from the artifact's hyperparameters. Environment variables override them.

        Parameters
        ----------
        hyperparameters
            Hyperparameters of the artifact, with ``inference_output``, ``bad_rows``, ``inference_engine``,
            ``inference_id``, ``unknown_keys``, ``coverage`` and ``quantiles``. One that is missing means the default.
        environment
            Environment variables: ``SAGEMAKER_INFERENCE_OUTPUT``, ``BAD_ROWS``, ``INFERENCE_ENGINE``,
            ``INFERENCE_ID``, ``UNKNOWN_KEYS``, ``COVERAGE`` and ``QUANTILES``, if set.
        schema, task
            Columns and task of the model.
        is_batch
            Whether a batch transform job started the server.
        may_review
            Whether the model may leave rows to a person. By default, answers then have the field ``best_guess``.

        Raises
        ------
        UserError
            A value is unknown, or names a field that this model cannot give.
        """

        def setting(variable: str, name: str) -> tuple[str, str]:
            if value := environment.get(variable, "").strip():
                return value, variable
            return str(hyperparameters.get(name, "")), f"The hyperparameter {name}"

        output, where = setting("SAGEMAKER_INFERENCE_OUTPUT", "inference_output")
        fields = parse_fields(output, where)
        if wrong := [field.value for field in fields if field in _OF_CLASSES and task.is_regression]:
            raise UserError(f"{where} asks for {', '.join(wrong)}, but this model predicts numbers.")
        if wrong := [field.value for field in fields if field in _OF_NUMBERS and not task.is_regression]:
            raise UserError(f"{where} asks for {', '.join(wrong)}, but this model predicts classes.")
        if Field.ID in fields and not schema.has_id:
            raise UserError(f"{where} asks for id, but the model was trained without an {ID} column.")
        bad_rows = parse_choice(BadRows, *setting("BAD_ROWS", "bad_rows"))
        refuse = bad_rows is BadRows.ERROR or (bad_rows is BadRows.AUTO and not is_batch)
        engine = parse_choice(Engine, *setting("INFERENCE_ENGINE", "inference_engine"))
        inference_id = parse_choice(InferenceId, *setting("INFERENCE_ID", "inference_id"))
        unknown_keys = parse_choice(UnknownKeys, *setting("UNKNOWN_KEYS", "unknown_keys"))
        return cls(
            fields or _default_fields(schema, task, may_review=may_review),
            refuse,
            engine,
            id_absent=inference_id is InferenceId.ABSENT,
            refuse_unknown_keys=unknown_keys is UnknownKeys.ERROR,
            has_default_fields=not fields,
            coverage=parse_coverage(*setting("COVERAGE", "coverage")),
            quantiles=parse_quantiles(*setting("QUANTILES", "quantiles")),
        )

    @property
    def quantile_names(self) -> tuple[str, ...]:
        """The levels of the field ``quantiles`` as texts: their names in an answer."""
        return tuple(f"{level:g}" for level in self.quantiles)

    def fields_of(self, *, id_absent: bool) -> tuple[Field, ...]:
        """Return the fields of the answers to lines with or without ID. Without ID, the ID field is left out.

        An ID field that the user has listed is never left out.
        """
        if not (id_absent and self.has_default_fields):
            return self.fields
        return tuple(field for field in self.fields if field is not Field.ID)


def missing_texts(text: str) -> frozenset[str]:
    """Return the texts that the hyperparameter ``missing_values`` lists. Cells with these texts count as empty."""
    return frozenset(listed_texts(text, "missing_values", '["N/A", "-"]'))


def listed_texts(text: str, name: str, example: str) -> list[str]:
    """Return the texts that a hyperparameter lists, without white space at their ends.

    Parameters
    ----------
    text
        Texts separated by commas, or a JSON list of texts.
    name, example
        Name of the hyperparameter and an example of a JSON list, for the error message.

    Raises
    ------
    UserError
        The text begins like a JSON list, but cannot be read as a list of texts.
    """
    listed: Any = text.split(",")
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text)
        except ValueError:
            listed = [None]
        if not all(isinstance(value, str) for value in listed):
            raise UserError(
                f"The hyperparameter {name} is '{text[:60]}': it must list texts, separated by commas or as "
                f"JSON, for example {example}."
            )
    return list(filter(None, map(trimmed, listed)))


def on_one_line(cell: str) -> str:
    """Return a cell with spaces in place of newlines. Batch transform cuts files at every newline, also in quotes."""
    return cell.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def parse_fields(text: str, where: str) -> tuple[Field, ...]:
    """Parse a list of answer fields, separated by commas. Return an empty tuple for an empty text.

    Parameters
    ----------
    text
        Names of fields, for example ``id, predicted_label``.
    where
        Name of the setting, for messages.

    Raises
    ------
    UserError
        A name is not a field, or is there twice.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    known = [field.value for field in Field]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{where} asks for '{unknown[0][:60]}': it may list {', '.join(known)}.")
    if len(set(names)) < len(names):
        raise UserError(f"{where} lists a field twice: '{text}'.")
    return tuple(Field(name) for name in names)


def parse_choice(kind: type[_Choice], text: str, where: str) -> _Choice:
    """Return the member of the enumeration `kind` that is spelled `text`. An empty text means the first member.

    Raises
    ------
    UserError
        `kind` has no such member. The message begins with `where`, the name of the setting.
    """
    try:
        return kind(text.strip().lower() or next(iter(kind)))
    except ValueError:
        raise UserError(f"{where} is '{text[:60]}': it must be one of {', '.join(kind)}.") from None


def parse_coverage(text: str, where: str) -> float:
    """Return the coverage that `text` spells. An empty text means the default.

    Raises
    ------
    UserError
        The text is not a number from 0.5 to 0.999. The message begins with `where`, the name of the setting.
    """
    if not text.strip():
        return InferenceOptions.coverage
    coverage = _number(text)
    if not LEAST_COVERAGE <= coverage <= GREATEST_COVERAGE:
        raise UserError(
            f"{where} is '{text[:60]}': it must be a number from {LEAST_COVERAGE:g} to {GREATEST_COVERAGE:g}."
        )
    return coverage


def parse_quantiles(text: str, where: str) -> tuple[float, ...]:
    """Return the levels that `text` lists, separated by commas, in ascending order. An empty text means the default.

    Raises
    ------
    UserError
        A level is not a number above 0 and below 1. The message begins with `where`, the name of the setting.
    """
    if not text.strip():
        return InferenceOptions.quantiles
    levels = sorted({_number(part) for part in text.split(",")})
    if not all(0 < level < 1 for level in levels):
        raise UserError(
            f"{where} is '{text[:60]}': it must list numbers above 0 and below 1, separated by commas, for example "
            "0.1,0.5,0.9."
        )
    return tuple(levels)


def _number(text: str) -> float:
    """Return the number that a text spells. Return -1 if it spells none, or NaN."""
    try:
        number = float(text)
    except ValueError:
        return -1.0
    return number if number == number else -1.0


def _default_fields(schema: FeatureSchema, task: Task, *, may_review: bool) -> tuple[Field, ...]:
    fields = (Field.PREDICTED_LABEL,) if task.is_regression else (Field.PREDICTED_LABEL, Field.PROBABILITY)
    if may_review:
        fields = (*fields, Field.BEST_GUESS)
    return (Field.ID, *fields) if schema.has_id else fields
