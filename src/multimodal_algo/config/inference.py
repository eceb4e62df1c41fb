"""What a served model answers with, and how it is run.

Hyperparameters set it when the model is trained and are kept in the artifact (clients of Marketplace algorithms drop
the environment); environment variables override them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import ID, FeatureSchema
from multimodal_algo.core.task import Task


class Engine(StrEnum):
    """What runs frozen networks; ``auto`` is ONNX Runtime on a CPU where it is installed, torch else."""

    AUTO = "auto"
    TORCH = "torch"
    ONNX = "onnx"
    TENSORRT = "tensorrt"


class BadRows(StrEnum):
    """What becomes of a request with rows that cannot be read; ``auto`` is ``report`` in batch, ``error`` else."""

    AUTO = "auto"
    REPORT = "report"
    """They are answered with their ID and empty fields."""
    ERROR = "error"
    """The request is refused."""


class Field(StrEnum):
    """A field of an answer; all but the first and the last two are SageMaker Autopilot's."""

    ID = "id"
    PREDICTED_LABEL = "predicted_label"
    PROBABILITY = "probability"
    """Of the predicted label."""
    PROBABILITIES = "probabilities"
    """Of all labels, in the order of ``labels``."""
    LABELS = "labels"
    MODALITY_WEIGHTS = "modality_weights"
    """By modality the share that it had in moving the answer."""
    ERROR = "error"
    """Why a row cannot be read."""

    @property
    def heading(self) -> str:
        """Its name in a header line or an object."""
        return ID if self is Field.ID else self.value


_Choice = TypeVar("_Choice", bound=StrEnum)
_OF_CLASSES = frozenset({Field.PROBABILITY, Field.PROBABILITIES, Field.LABELS})


@dataclass(frozen=True)
class InferenceOptions:
    """How a model is served.

    Parameters
    ----------
    fields
        Of each answer, in order.
    refuse_bad_rows
        Whether a request with a bad row is refused.
    engine
        Runs the frozen networks.
    """

    fields: tuple[Field, ...]
    refuse_bad_rows: bool
    engine: Engine

    @classmethod
    def of(
        cls,
        hyperparameters: Mapping[str, Any],
        environment: Mapping[str, str],
        *,
        schema: FeatureSchema,
        task: Task,
        is_batch: bool,
    ) -> InferenceOptions:
        """Those of an artifact's hyperparameters, overridden by the environment.

        Parameters
        ----------
        hyperparameters
            With ``inference_output``, ``bad_rows`` and ``inference_engine``, if they were known when it was trained.
        environment
            With ``SAGEMAKER_INFERENCE_OUTPUT``, ``BAD_ROWS`` and ``INFERENCE_ENGINE``, if set.
        schema, task
            Of the model.
        is_batch
            Whether a batch transform job started the server.

        Raises
        ------
        UserError
            A value that does not exist, or that the model has no answer for.
        """

        def setting(variable: str, name: str) -> tuple[str, str]:
            if value := environment.get(variable, "").strip():
                return value, variable
            return str(hyperparameters.get(name, "")), f"The hyperparameter {name}"

        output, where = setting("SAGEMAKER_INFERENCE_OUTPUT", "inference_output")
        fields = parse_fields(output, where)
        if wrong := [field.value for field in fields if field in _OF_CLASSES and task.is_regression]:
            raise UserError(f"{where} asks for {', '.join(wrong)}, but this model predicts numbers.")
        if Field.ID in fields and not schema.has_id:
            raise UserError(f"{where} asks for id, but the model was trained without an {ID} column.")
        bad_rows = parse_choice(BadRows, *setting("BAD_ROWS", "bad_rows"))
        refuse = bad_rows is BadRows.ERROR or (bad_rows is BadRows.AUTO and not is_batch)
        engine = parse_choice(Engine, *setting("INFERENCE_ENGINE", "inference_engine"))
        return cls(fields or _usual_fields(schema, task), refuse, engine)


def on_one_line(cell: str) -> str:
    """A cell of a line that may be cut at every newline: those in it become spaces."""
    return cell.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")


def parse_fields(text: str, where: str) -> tuple[Field, ...]:
    """The fields that `text` lists, separated by commas; none where it is empty.

    Raises
    ------
    UserError
        A name that is no field, or twice the same; `where` says who asks.
    """
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    known = [field.value for field in Field]
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{where} asks for '{unknown[0]}': it may list {', '.join(known)}.")
    if len(set(names)) < len(names):
        raise UserError(f"{where} lists a field twice: '{text}'.")
    return tuple(Field(name) for name in names)


def parse_choice(kind: type[_Choice], text: str, where: str) -> _Choice:
    """The member of `kind` called `text`, ``auto`` where it is empty.

    Raises
    ------
    UserError
        There is none.
    """
    try:
        return kind((text or "auto").strip().lower())
    except ValueError:
        raise UserError(f"{where} is '{text}': it must be one of {', '.join(kind)}.") from None


def _usual_fields(schema: FeatureSchema, task: Task) -> tuple[Field, ...]:
    fields = (Field.PREDICTED_LABEL,) if task.is_regression else (Field.PREDICTED_LABEL, Field.PROBABILITY)
    return (Field.ID, *fields) if schema.has_id else fields
