"""The hyperparameters of data, models and training."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from multimodal_algo.config.choices import (
    CsvDelimiter,
    DistillFrom,
    Distribution,
    EvalMetric,
    LabelNoise,
    OnBadRow,
    OnCheckpointMismatch,
    ProblemTypes,
    Quality,
    Switch,
    TargetTransform,
)
from multimodal_algo.core.schema import ID, LABEL

_BUDGET = (
    "the wall-clock budget for fitting, which is the sum of n_hours, n_mins and n_secs. "
    "Without any of them it is 5 minutes."
)
_TUNABLE: dict[str, JsonValue] = {"tunable": True}


class TrainingSettings(BaseModel):
    """Hyperparameters that change what is trained. A field's description is its documentation for users."""

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
    target_transform: TargetTransform = Field(
        "auto",
        description="Numbers that the models of a regression learn. log: the logarithms of the labels, for example of "
        "prices. none: the labels. auto: log if all labels are positive and skewed, and if held-out rows are then "
        "predicted better.",
    )
    label_noise: LabelNoise = Field(
        "keep",
        description="Treatment of training rows with a doubtful label. keep: models are fitted to all rows. drop: a "
        "linear model finds doubtful labels, and no model is fitted to their rows. auto: drop if the linear model "
        "then predicts held-out rows better. label_issues.csv lists doubtful labels in any case.",
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
        "are found from the cells of the first rows. auto finds all kinds.",
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
    seed: int = Field(0, ge=0, le=2147483647, description="Seed of the random numbers for folds, splits and networks.")
