"""A trained model as users have it in Python: data frames in, data frames out."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.artifact import artifact_at
from multimodal_algo.config.inference import Engine, parse_coverage, parse_quantiles
from multimodal_algo.core.column_names import DATE
from multimodal_algo.core.disks import size_of
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.metrics import Metric, metrics_of
from multimodal_algo.core.schema import modality_of
from multimodal_algo.core.storage import Location, local_file
from multimodal_algo.fusion.conformal.intervals import PredictionIntervals
from multimodal_algo.fusion.conformal.sets import PredictionSets
from multimodal_algo.interface.decisions import answers_of, decider_of
from multimodal_algo.interface.frames import frame_of, table_of
from multimodal_algo.interface.reading import RowReader
from multimodal_algo.report.importance import importances
from multimodal_algo.serving.guarantees import sets_of
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.serving.reasons import cell_effects


class Model:
    """A trained model, as `load` and `fit` return it.

    Methods take data as a data frame of pandas, polars or pyarrow, a dict of columns, or a list of dicts. Columns have
    the names of the training table, in any order. Columns that the model does not have are ignored. Images are encoded
    bytes, base64, `PIL.Image.Image`, or paths of files.

    Examples
    --------
    >>> import multimodal_algo
    >>> model = multimodal_algo.load("job/model.tar.gz")  # doctest: +SKIP
    >>> model.predict([{"title_text": "a desk lamp", "price_num": 19.9}])  # doctest: +SKIP
    """

    def __init__(self, model: LoadedModel, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._names = model.names
        self._reader = RowReader(model)

    def __repr__(self) -> str:
        what = f"{len(self.classes)} classes" if self.classes else "a number"
        return f"<Model of {what} from {', '.join(self.columns)}>"

    @property
    def problem_type(self) -> str:
        """The kind of problem: ``binary``, ``multiclass`` or ``regression``."""
        return self._model.config.problem_type

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities. Empty for a regression."""
        return self._model.classes

    @property
    def label(self) -> str:
        """The name of the column that the model predicts."""
        return self._names.label

    @property
    def columns(self) -> Mapping[str, str]:
        """The kind of each feature column, by its name in the training table. A kind is a modality or ``date``."""
        columns = self._names.in_tables(self._model.schema.features)
        return {self._names.own(column): str(modality_of(column) or DATE) for column in columns}

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics of the training job, measured on held-out rows, as in ``metrics.json``."""
        return self._model.config.metrics

    def predict(self, data: Any, *, on_bad_row: str = "error", **rule: Any) -> pd.Series:
        """Return the class, or the number, of each row.

        The class is the likeliest one, unless the model has thresholds. A row that the model leaves to a person has the
        answer ``__review__``, or the text that ``review_label`` sets.

        Parameters
        ----------
        data
            Rows to predict, in one of the forms that the class describes.
        on_bad_row
            What to do if a cell cannot be read: ``error`` raises an error, and ``empty`` returns None or NaN for this
            row.
        rule
            Settings that replace those of the model for this call: ``decision_threshold``, ``abstain_below``,
            ``target_accuracy`` and ``review_label``. Values are those of the hyperparameters with these names.

        Returns
        -------
        pandas.Series
            Predictions with the same index as the data.

        Raises
        ------
        UserError
            A column is missing, a row cannot be read, or a threshold does not suit the model.
        """
        decider = decider_of(self._model.config, rule)
        predictions, index = self._predictions(data, on_bad_row)
        if not self.classes:
            return pd.Series(predictions[:, 0], index=index, name=self.label)
        labels, _ = answers_of(predictions, self.classes, decider)
        return pd.Series(labels, index=index, name=self.label, dtype=object)

    def decide(self, data: Any, *, on_bad_row: str = "error", **rule: Any) -> pd.DataFrame:
        """Return the answer, the best guess, and the probability of the best guess for each row. See `predict`.

        Returns
        -------
        pandas.DataFrame
            The columns ``predicted_label``, ``best_guess`` and ``probability``, with the index of the data.

        Raises
        ------
        UserError
            See `predict`. Or the model predicts numbers.
        """
        decider = decider_of(self._model.config, rule)
        probabilities = self.predict_proba(data, on_bad_row=on_bad_row)
        labels, guesses = answers_of(probabilities.to_numpy(), self.classes, decider)
        positions = [0 if guess is None else self.classes.index(guess) for guess in guesses]
        certainty = probabilities.to_numpy()[np.arange(len(positions)), positions]
        columns = {"predicted_label": labels, "best_guess": guesses, "probability": certainty}
        return pd.DataFrame(columns, index=probabilities.index)

    def predict_proba(self, data: Any, *, on_bad_row: str = "error") -> pd.DataFrame:
        """Return the calibrated probability of each class for each row. Each class has a column. See `predict`.

        Raises
        ------
        UserError
            See `predict`. Or the model predicts numbers.
        """
        if not self.classes:
            raise UserError("The model predicts numbers, which have no probabilities. Use predict.")
        predictions, index = self._predictions(data, on_bad_row)
        return pd.DataFrame(predictions, index=index, columns=list(self.classes))

    def predict_set(self, data: Any, coverage: float | None = None, *, on_bad_row: str = "error") -> pd.Series:
        """Return the prediction set of each row: a list of classes that has the true class with a chosen probability.

        Parameters
        ----------
        data, on_bad_row
            See `predict`.
        coverage
            Share of new rows whose true class is to be in the list, from 0.5 to 0.999. None for the share that the
            training job set.

        Raises
        ------
        UserError
            See `predict`. Or the model predicts numbers, or the coverage is out of range.
        """
        sets = self._model.calibrated
        if not isinstance(sets, PredictionSets):
            raise UserError("The model predicts numbers, which have no sets. Use predict_interval.")
        share, frame = self._coverage(coverage), frame_of(data)
        answers: list[list[str] | None] = [None] * len(frame)
        for rows, votes in self._reader.votes(frame, on_bad_row):
            for row, labels in zip(rows, sets_of(sets, self._model.fuse(votes), share), strict=True):
                answers[row] = [self.classes[label] for label in labels]
        return pd.Series(answers, index=frame.index, name="prediction_set", dtype=object)

    def predict_interval(self, data: Any, coverage: float | None = None, *, on_bad_row: str = "error") -> pd.DataFrame:
        """Return the bounds ``low`` and ``high`` of each row, which contain the true number with a chosen probability.

        A bound is infinite if training had too few rows to know it. See `predict_set` for the parameters.

        Raises
        ------
        UserError
            See `predict`. Or the model predicts classes, or the coverage is out of range.
        """
        tail = (1 - self._coverage(coverage)) / 2
        bounds = self.predict_quantiles(data, (tail, 1 - tail), on_bad_row=on_bad_row)
        return bounds.set_axis(["low", "high"], axis=1)

    def predict_quantiles(
        self, data: Any, quantiles: Sequence[float] = (0.1, 0.5, 0.9), *, on_bad_row: str = "error"
    ) -> pd.DataFrame:
        """Return the quantiles of each row, a column for each: the true number is below it with this probability.

        Raises
        ------
        UserError
            See `predict`. Or the model predicts classes, or a probability is not between 0 and 1.
        """
        intervals = self._model.calibrated
        if not isinstance(intervals, PredictionIntervals):
            raise UserError("The model predicts classes, which have no intervals. Use predict_set.")
        levels = parse_quantiles(",".join(map(repr, map(float, quantiles))), "quantiles")
        frame = frame_of(data)
        numbers = np.full((len(frame), len(levels)), np.nan)
        for rows, votes in self._reader.votes(frame, on_bad_row):
            numbers[rows] = intervals.quantiles(self._model.fuse(votes), votes, levels)
        return pd.DataFrame(numbers, index=frame.index, columns=list(levels))

    def explain(self, data: Any) -> pd.DataFrame:
        """Return how much each cell moved the answer of its row: a column for each column that the model reads.

        The values are changes of the probability of the answered class, or of the number, see `cell_effects`.
        """
        frame = frame_of(data)
        features = self._reader.features(table_of(frame, self._names))
        votes = self._model.votes(features)
        guesses = self._model.fuse(votes).argmax(axis=1)
        return pd.DataFrame(cell_effects(self._model, features, votes, guesses), index=frame.index)

    def evaluate(self, data: Any, metrics: Sequence[str] | None = None) -> dict[str, float]:
        """Return the value of each metric on labelled rows.

        Parameters
        ----------
        data
            Rows with their labels, in one of the forms that the class describes.
        metrics
            Names of metrics, for example ``["accuracy", "log_loss"]``. By default, all metrics of the problem type.

        Raises
        ------
        UserError
            See `predict`. Or a label is not a class of the model, or a metric is unknown.
        """
        table, targets = self._reader.labelled(data)
        known = metrics_of(self._model.task)
        if unknown := [name for name in metrics or () if name not in known]:
            raise UserError(f"There is no metric '{unknown[0]}' for {self.problem_type}. Known are {', '.join(known)}.")
        predictions = self._model.fuse(self._model.votes(self._reader.features(table)))
        return {name: known[name](targets, predictions) for name in metrics or known}

    def leaderboard(self, data: Any = None) -> pd.DataFrame:
        """Return a table of the branches (the model's parts) and the fusion of them, with the best first.

        Parameters
        ----------
        data
            Rows with their labels, in one of the forms that the class describes. None to show only the scores from
            training.

        Returns
        -------
        pandas.DataFrame
            A row for each branch. ``score_val`` is the job's metric on held-out rows, and ``score_test`` on `data`.
            ``predict_s`` are the seconds for `data`, without the frozen networks. ``size_mb`` is the size of the
            branch's files, and ``columns`` has the columns that the branch reads.
        """
        metric = self._metric
        branches = self._model.config.branches
        scores = {name: values[metric.name] for name, values in self.metrics["modalities"].items()}
        board = pd.DataFrame(
            {
                "score_val": [*(scores.get(entry.name) for entry in branches), self.metrics["fused"][metric.name]],
                "size_mb": [*(_megabytes(self._folder / entry.name) for entry in branches), _megabytes(self._folder)],
                "columns": [*(", ".join(map(self._names.own, entry.columns)) for entry in branches), "all"],
            },
            index=pd.Index([*(entry.name for entry in branches), "fusion"], name=metric.name),
        )
        if data is not None:
            table, targets = self._reader.labelled(data)
            votes, seconds = self._model.timed_votes(self._reader.features(table))
            prior = self._model.prior
            predictions = [*(votes.alone(number, prior) for number in range(votes.branches)), self._model.fuse(votes)]
            board.insert(0, "score_test", [metric(targets, values) for values in predictions])
            board.insert(2, "predict_s", [*seconds, sum(seconds)])
        return board.sort_values(board.columns[0], ascending=not metric.greater_is_better)

    def feature_importance(
        self, data: Any, *, by: str = "column", repeats: int = 5, rows: int = 1000, seed: int = 0
    ) -> pd.DataFrame:
        """Return how much worse predictions become if the values of a column are shuffled among the rows.

        Parameters
        ----------
        data
            Rows with their labels, in one of the forms that the class describes. They should not be training rows.
        by
            ``column`` to shuffle each column, or ``modality`` to shuffle all columns of a modality together.
        repeats
            Number of permutations of each column.
        rows
            Largest number of rows to use. They are drawn at random.
        seed
            Seed of the permutations.

        Returns
        -------
        pandas.DataFrame
            A row for each column. ``importance`` is how much the job's metric gets worse (above 0 if the column helps).
            ``stddev`` is its deviation over permutations, and ``low`` and ``high`` bound its 95 % interval.
            ``modality`` is the kind of the column.
        """
        table, targets = self._reader.labelled(data)
        chosen = np.sort(np.random.default_rng(seed).permutation(table.num_rows)[:rows])
        features = self._reader.features(table.take(chosen))
        groups = self._groups(by)
        metric = self._metric
        importance = importances(
            lambda changed: self._model.fuse(self._model.votes(changed)),
            features, targets[chosen], groups, metric, repeats=repeats, seed=seed,
        )  # fmt: skip
        importance["modality"] = [str(modality_of(columns[0])) for columns in groups.values()]
        return importance.sort_values("importance", ascending=False)

    def embed(self, data: Any) -> pd.DataFrame:
        """Return the vectors that the frozen networks make of texts and images.

        Returns
        -------
        pandas.DataFrame
            The numbers of the vectors, float32, in columns such as ``title_text_0``. An empty cell has NaN.
        """
        frame = frame_of(data)
        features = self._reader.features(table_of(frame, self._names))
        columns: dict[str, np.ndarray] = {}
        for name, column in features.vectors.items():
            values = np.full((len(features), column.vectors.shape[1]), np.nan, dtype=np.float32)
            values[column.present] = column.vectors[column.index[column.present]]
            columns |= {f"{self._names.own(name)}_{number}": values[:, number] for number in range(values.shape[1])}
        return pd.DataFrame(columns, index=frame.index)

    def _predictions(self, data: Any, on_bad_row: str) -> tuple[np.ndarray, pd.Index]:
        """Return the predictions for all rows and the index of the data. Rows that cannot be read have NaN."""
        frame = frame_of(data)
        predictions = np.full((len(frame), self._model.task.outputs), np.nan)
        for rows, votes in self._reader.votes(frame, on_bad_row):
            predictions[rows] = self._model.fuse(votes)
        return predictions, frame.index

    def _coverage(self, coverage: float | None) -> float:
        """Return the coverage. If it is None, return the coverage that the training job set."""
        wanted = self._model.config.hyperparameters.get("coverage", "") if coverage is None else coverage
        return parse_coverage(str(wanted), "coverage")

    @property
    def _metric(self) -> Metric:
        """The metric with which training compared models."""
        return metrics_of(self._model.task)[str(self.metrics["eval_metric"])]

    def _groups(self, by: str) -> dict[str, list[str]]:
        schema = self._model.schema
        if by == "column":
            return self._names.grouped(schema.features)
        if by == "modality":
            return {modality.value: list(schema.of(modality)) for modality in self._model.modalities}
        raise UserError(f"by is '{by}': it must be column or modality.")


def load(location: Location, *, engine: str = "auto") -> Model:
    """Load a trained model from the ``model.tar.gz`` of a training job.

    Parameters
    ----------
    location
        A ``model.tar.gz``, a folder that has one, an extracted ``model.tar.gz``, or an ``s3://`` URI of one.
    engine
        Library that runs the networks: ``auto``, ``torch``, ``onnx``, ``openvino`` or ``tensorrt``.

    Raises
    ------
    UserError
        There is no model, it is damaged, or it was trained with other versions of libraries.
    """
    scratch = Path(tempfile.mkdtemp(prefix="multimodal-model-"))
    try:
        path = local_file(location, scratch)
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder. Give the model.tar.gz of a training job.")
        folder = artifact_at(path, scratch / "artifact")
        model = Model(LoadedModel.load(folder, Engine(engine)), folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    weakref.finalize(model, shutil.rmtree, scratch, ignore_errors=True)
    return model


def _megabytes(path: Path) -> float:
    return round(size_of(path) / 1e6, 1)
