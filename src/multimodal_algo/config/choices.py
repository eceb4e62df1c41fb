"""The possible values of hyperparameters that accept one value of a list."""

from __future__ import annotations

from typing import Literal

Quality = Literal["toy", "very_light", "light", "default", "high", "best"]
Customised = Literal[
    "text_hyperparameters", "image_hyperparameters", "tabular_hyperparameters", "fusion_hyperparameters"
]
ProblemTypes = Literal["auto", "binary", "multiclass", "regression"]
EvalMetric = Literal[
    "auto", "accuracy", "log_loss", "f1_macro", "roc_auc", "balanced_accuracy", "average_precision", "f1", "precision",
    "recall", "mcc", "brier", "f1_weighted", "precision_macro", "precision_weighted", "recall_macro", "recall_weighted",
    "rmse", "mae", "r2", "median_absolute_error", "mape", "pearson", "spearman",
]  # fmt: skip
TargetTransform = Literal["auto", "none", "log"]
LabelNoise = Literal["keep", "auto", "drop"]
OnBadRow = Literal["error", "skip"]
OnCheckpointMismatch = Literal["error", "restart"]
Switch = Literal["true", "false"]
Distribution = Literal["auto", "off"]
CsvDelimiter = Literal[",", ";", "|", "tab", "\\t"]
DistillFrom = Literal["none", "model"]
