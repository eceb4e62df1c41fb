"""The hyperparameters, each declared once as a field of `HyperParameters`.

``hyperparameter_specification.json`` and ``docs/hyperparameters.md`` are made from the fields: name, type, range,
default and description. A new hyperparameter is one field.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from multimodal_algo.config.choices import (
    CsvDelimiter,
    Customised,
    DistillFrom,
    Distribution,
    EvalMetric,
    OnBadRow,
    OnCheckpointMismatch,
    ProblemTypes,
    Quality,
    Switch,
)
from multimodal_algo.config.client_values import read_object, unquoted
from multimodal_algo.config.decisions import read_settings
from multimodal_algo.config.fields import choices, kind_of
from multimodal_algo.config.inference import (
    BadRows,
    Engine,
    InferenceId,
    UnknownKeys,
    listed_texts,
    missing_texts,
    parse_fields,
)
from multimodal_algo.config.refusals import invalid_value, unknown_name
from multimodal_algo.core.aims import REVIEW, DecisionSettings
from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.metrics import REGRESSION
from multimodal_algo.core.schema import ID, LABEL

_UNSET = frozenset({"", "none", "null"})
_DEFAULT_BUDGET_S = 300.0
_BUDGET = (
    "the wall-clock budget for fitting, which is the sum of n_hours, n_mins and n_secs. "
    "Without any of them it is 5 minutes."
)
_TUNABLE: dict[str, JsonValue] = {"tunable": True}


class HyperParameters(BaseModel):
    """The hyperparameters of a training job. A field's description is its documentation for users."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # SDK 2 sends every default of an algorithm. So the parts of the budget have none: it would be added to the others.
    n_hours: float | None = Field(None, ge=0, le=672, description=f"Hours of {_BUDGET}")
    n_mins: float | None = Field(None, ge=0, le=40320, description=f"Minutes of {_BUDGET}")
    n_secs: float | None = Field(None, ge=0, le=2419200, description=f"Seconds of {_BUDGET}")
    n_epochs: int = Field(
        50,
        ge=1,
        le=10000,
        description="Largest number of epochs of the fusion network. Training chooses the number with the least loss "
        "on held-out rows.",
        json_schema_extra=_TUNABLE,
    )
    quality: Quality = Field(
        "toy", description="Which models are trained, from toy, the fastest, to best, the most accurate."
    )
    problem_type: ProblemTypes = Field(
        "auto",
        description="Kind of the label. auto detects it: many different numbers are a regression, other labels are "
        "classes.",
    )
    eval_metric: EvalMetric = Field(
        "auto",
        description="Metric with which training chooses how to combine the modalities. auto is log_loss for classes "
        "and rmse for a regression.",
    )
    positive_class: str = Field(
        "",
        description="The class that is sought, of two: precision, recall, f1 and average_precision are of it, and so "
        "is a decision_threshold without a class. The default is the rarer class.",
    )
    decision_threshold: str = Field(
        "",
        description="Probability from which on the positive class is answered: a number, f1, precision>=0.95, "
        'recall>=0.9, or cost:{"false_positive":1,"false_negative":20}. Or JSON by class, for example '
        '{"rare": "recall>=0.9"}. Held-out rows choose it. DECISION_THRESHOLD overrides it in inference.',
    )
    abstain_below: float = Field(
        0,
        ge=0,
        le=1,
        description="Least probability of an answer. Rows below it are answered with review_label. "
        "ABSTAIN_BELOW overrides it in inference.",
    )
    target_accuracy: float = Field(
        0,
        ge=0,
        le=0.9999,
        description="Share of right rows among those that are answered, for example 0.98. Held-out rows choose the "
        "least probability for it, and other rows are answered with review_label. 0 answers all rows. TARGET_ACCURACY "
        "overrides it in inference.",
    )
    review_label: str = Field(
        REVIEW,
        description="Answer to rows that a person should look at, because they do not reach a threshold. It is not a "
        "class of the data. REVIEW_LABEL overrides it in inference.",
    )
    class_weights: str = Field(
        "even",
        description="Class weights. even: each row counts the same. balanced: each class counts the same. Or JSON with "
        'a weight for each class, for example {"rare": 5}. Classes that it does not name have weight 1.',
    )
    image_backbone: str = Field(
        "auto",
        description="Frozen network that turns images into vectors: auto, which is the choice of the quality, a name "
        "of torchvision or timm, for example resnet50, or the path of a network. docs/networks.md lists the networks.",
    )
    text_backbone: str = Field(
        "auto",
        description="Frozen networks that turn text into vectors. auto is the choice of the quality. Or one or more "
        "of universal-sentence-encoder-multilingual, multilingual-e5-small, all-MiniLM-L6-v2 or the path of a model "
        "directory, separated by commas or as a JSON list. The vectors of several networks are joined.",
    )
    text_hyperparameters: str = Field(
        "{}",
        description="JSON for the text columns. A dotted key of AutoMM fine-tunes a network on these columns, for "
        'example {"optim.lr": 1e-4}. {"WIDE": {"C": 3}} sets C of the linear model on words and vectors.',
    )
    image_hyperparameters: str = Field(
        "{}",
        description="JSON for the image columns. A dotted key of AutoMM fine-tunes a network on these columns, for "
        'example {"optim.max_epochs": 5}. {"WIDE": {"C": 3}} sets C of the linear model on vectors.',
    )
    tabular_hyperparameters: str = Field(
        "{}",
        description="JSON with the AutoGluon models for numbers and categories. They replace the models of the "
        'quality. For example {"GBM": {"num_boost_round": 300}, "CAT": {}}.',
    )
    fusion_hyperparameters: str = Field(
        "{}",
        description="JSON for the fusion network, which combines the modalities. Its keys are learning_rate, "
        "weight_decay, dropout and batch_size.",
    )
    min_completeness: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of a row's cells of one modality that must be filled. The models of this modality ignore a "
        "row with fewer filled cells, or with none.",
        json_schema_extra=_TUNABLE,
    )
    on_bad_row: OnBadRow = Field(
        "error",
        description="Treatment of rows that cannot be read. error: training stops and names file, row and column. "
        "skip: training leaves them out and lists the first 100 in bad_rows.csv of the output.",
    )
    max_bad_row_fraction: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Largest share of rows that on_bad_row=skip may leave out. Above it, training stops.",
    )
    missing_values: str = Field(
        "",
        description="Texts that count as an empty cell, in every column, separated by commas, for example N/A,-. A "
        'JSON list may hold commas, for example ["N/A", ","]. Inference uses the same texts.',
    )
    group_by: str = Field(
        "",
        description="Columns whose values are new at inference, separated by commas, for example author_text. Rows "
        "with the same value are held out together, so that results are measured on new values. A JSON list may hold "
        "commas.",
    )
    label: str = Field(
        LABEL,
        description="Name of the column to predict. With another name than label, columns need no suffix: their kinds "
        "are found from their cells, see columns.",
    )
    id: str = Field(
        ID,
        description="Name of the column that identifies the rows, for example sku. The data may lack the default "
        "column ID.",
    )
    columns: str = Field(
        "",
        description="Kinds of columns without a suffix, as title=text,price=num or as a JSON object. Kinds are text, "
        "num, cat, image, date, which becomes numbers, and drop, which leaves a column out. Kinds that are not given "
        "are found from the cells of the first rows. auto finds all.",
    )
    csv_delimiter: CsvDelimiter = Field(
        ",",
        description="Separator of the cells in CSV files of the train and validation channels. \\t is tab. Inference "
        "always reads commas.",
    )
    on_checkpoint_mismatch: OnCheckpointMismatch = Field(
        "error",
        description="Treatment of checkpoints of a job with other data, hyperparameters or versions. error: training "
        "stops. restart: training deletes them and starts from the beginning.",
    )
    never_worse: Switch = Field(
        "true",
        description="For jobs with a model channel. true: the job returns the previous model if it predicts held-out "
        "rows better than the new model does. The previous model was not trained on these rows. false: the job always "
        "returns the new model.",
    )
    distill_from: DistillFrom = Field(
        "none",
        description="model: the artifact in the model channel is a teacher. It must have the same columns and "
        "classes. The new model learns from the labels and from the teacher's predictions. The teacher is not in the "
        "new artifact. none: there is no teacher.",
    )
    distribution: Distribution = Field(
        "auto",
        description="Use of several instances or GPUs. auto: reading, fitting and fine-tuning run on all of them, "
        "with Ray. off: training runs on the first one alone.",
    )
    inference_output: str = Field(
        "",
        description="Fields of an answer, separated by commas: id, predicted_label, probability, probabilities, "
        "labels, modality_weights, best_guess, error. The default is id if the data has one, predicted_label, and "
        "probability for classes. The artifact stores this setting. The environment variable SAGEMAKER_INFERENCE_OUTPUT overrides it.",
    )
    bad_rows: BadRows = Field(
        BadRows.AUTO,
        description="Treatment of rows that cannot be read, in inference. report: the answer has their ID and empty "
        "fields. error: the request is refused. auto is report in batch transform and error on endpoints. The "
        "artifact stores this setting. The environment variable BAD_ROWS overrides it.",
    )
    inference_id: InferenceId = Field(
        InferenceId.PRESENT,
        description="Whether inference lines have the ID that training had. absent: lines have no ID. The artifact "
        "stores this setting. The environment variable INFERENCE_ID overrides it.",
    )
    unknown_keys: UnknownKeys = Field(
        UnknownKeys.IGNORE,
        description="Treatment of keys of JSON rows that are not columns, in inference. ignore: such keys are counted "
        "and logged. error: a row with such a key is a bad row. The artifact stores this setting. The environment "
        "variable UNKNOWN_KEYS overrides it.",
    )
    inference_engine: Engine = Field(
        Engine.AUTO,
        description="Engine of the networks: torch, onnx (ONNX Runtime), openvino or tensorrt. auto is openvino or "
        "onnx on a CPU and torch on a GPU. The artifact stores this setting. In inference, the environment variable "
        "INFERENCE_ENGINE overrides it.",
    )
    seed: int = Field(0, ge=0, le=2147483647, description="Seed of the random numbers for folds, splits and networks.")

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
        """The settings of decisions: the positive class, thresholds and abstention."""
        return read_settings(
            self.positive_class, self.decision_threshold, self.abstain_below, self.target_accuracy, self.review_label
        )

    def with_names(self, names: ColumnNames) -> HyperParameters:
        """Return the hyperparameters with the names and kinds of `names`."""
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
            if plain.lower() not in _UNSET:
                given[name] = _integral(plain) if kind_of(cls.model_fields[name]) is int else plain
        try:
            parsed = cls(**given)
        except ValidationError as error:
            raise UserError(invalid_value(error, cls.model_fields)) from None
        parsed.class_weights_by_label()
        parsed._check_metric()
        _ = parsed.missing_texts, parsed.column_names, parsed.group_columns, parsed.decisions
        parse_fields(parsed.inference_output, "The hyperparameter inference_output")
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
