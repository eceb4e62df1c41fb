"""A trained model on data frames."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from multimodal_algo.artifact import artifact_at
from multimodal_algo.config.inference import Engine
from multimodal_algo.core.disks import size_of
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.core.metrics import Metric, metrics_of
from multimodal_algo.core.schema import ID, LABEL, modality_of
from multimodal_algo.core.storage import Location, local_file
from multimodal_algo.core.values import trimmed
from multimodal_algo.ingest.features import Features
from multimodal_algo.interface.frames import cells_of, frame_of, table_of
from multimodal_algo.report.importance import importances
from multimodal_algo.serving.loaded_model import LoadedModel

_BATCH = 256


class Model:
    """A trained model. `load` and `fit` return it.

    All methods that take data take a data frame of pandas, polars or pyarrow, a dict of columns, or a list of dicts.
    Columns have the names of the training table, in any order. Columns that the model does not have are ignored.
    Images are encoded bytes, base64, `PIL.Image.Image`, or paths of files.

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

    def __repr__(self) -> str:
        what = f"{len(self.classes)} classes" if self.classes else "a number"
        return f"<Model of {what} from {', '.join(self.columns)}>"

    @property
    def problem_type(self) -> str:
        """``binary``, ``multiclass`` or ``regression``."""
        return self._model.config.problem_type

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of probabilities. Empty for a regression."""
        return self._model.classes

    @property
    def label(self) -> str:
        """The name of the column that is predicted."""
        return self._names.label

    @property
    def columns(self) -> Mapping[str, str]:
        """The feature columns by the names of the training table, and the modality of each."""
        return {self._names.own(column): str(modality_of(column)) for column in self._model.schema.features}

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The metrics of the training job on held-out rows, as in ``metrics.json``."""
        return self._model.config.metrics

    def predict(self, data: Any, *, on_bad_row: str = "error") -> pd.Series:
        """Return the likeliest class, or the number, of each row.

        Parameters
        ----------
        data
            Rows, see the class.
        on_bad_row
            ``error`` refuses data with a cell that cannot be read. ``empty`` answers such rows with None, or NaN.

        Returns
        -------
        pandas.Series
            Predictions with the index of the data.

        Raises
        ------
        UserError
            A column is not there, or a row cannot be read.
        """
        predictions, index = self._predictions(data, on_bad_row)
        if not self.classes:
            return pd.Series(predictions[:, 0], index=index, name=self.label)
        is_bad = np.isnan(predictions[:, 0])
        best = np.where(is_bad[:, None], 0.0, predictions).argmax(axis=1)
        labels = [None if bad else self.classes[number] for number, bad in zip(best, is_bad, strict=True)]
        return pd.Series(labels, index=index, name=self.label, dtype=object)

    def predict_proba(self, data: Any, *, on_bad_row: str = "error") -> pd.DataFrame:
        """Return the calibrated probability of each class, with a column for each class. See `predict`.

        Raises
        ------
        UserError
            See `predict`. Or the model predicts numbers.
        """
        if not self.classes:
            raise UserError("The model predicts numbers, which have no probabilities. Use predict.")
        predictions, index = self._predictions(data, on_bad_row)
        return pd.DataFrame(predictions, index=index, columns=list(self.classes))

    def evaluate(self, data: Any, metrics: Sequence[str] | None = None) -> dict[str, float]:
        """Return the values of metrics for labelled rows.

        Parameters
        ----------
        data
            Rows with their labels, see the class.
        metrics
            Names of metrics, for example ``["accuracy", "log_loss"]``. By default all that suit the problem type.

        Raises
        ------
        UserError
            See `predict`. Or a label is not a class of the model, or a metric is unknown.
        """
        table, targets = self._labelled(data)
        known = metrics_of(self._model.task)
        if unknown := [name for name in metrics or () if name not in known]:
            raise UserError(f"There is no metric '{unknown[0]}' for {self.problem_type}. Known are {', '.join(known)}.")
        predictions = self._model.fuse(self._model.votes(self._features(table)))
        return {name: known[name](targets, predictions) for name in metrics or known}

    def leaderboard(self, data: Any = None) -> pd.DataFrame:
        """Return the branches and the fusion, the best first.

        Parameters
        ----------
        data
            Rows with their labels, see the class. None for the held-out rows of the training job alone.

        Returns
        -------
        pandas.DataFrame
            By name of the branch: ``score_val`` on held-out rows by the metric of the job, ``score_test`` on `data`,
            ``predict_s`` for the rows of `data` without the frozen networks, ``size_mb`` of its files, and the columns
            that it reads.
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
            table, targets = self._labelled(data)
            votes, seconds = self._model.timed_votes(self._features(table))
            prior = self._model.prior
            predictions = [*(votes.alone(number, prior) for number in range(votes.branches)), self._model.fuse(votes)]
            board.insert(0, "score_test", [metric(targets, values) for values in predictions])
            board.insert(2, "predict_s", [*seconds, sum(seconds)])
        return board.sort_values(board.columns[0], ascending=not metric.greater_is_better)

    def feature_importance(
        self, data: Any, *, by: str = "column", repeats: int = 5, rows: int = 1000, seed: int = 0
    ) -> pd.DataFrame:
        """Return how much worse answers become when the values of a column are dealt to other rows.

        Parameters
        ----------
        data
            Rows with their labels, see the class. They should not be training rows.
        by
            ``column``, or ``modality`` for all columns of a modality together.
        repeats
            Number of permutations of each column.
        rows
            Most rows that are used. They are drawn at random.
        seed
            Seed of the permutations.

        Returns
        -------
        pandas.DataFrame
            By column: ``importance``, the mean loss of the job's metric (above 0 if the column helps), its ``stddev``
            over permutations, the bounds ``low`` and ``high`` of its 95 % interval, and the ``modality``.
        """
        table, targets = self._labelled(data)
        chosen = np.sort(np.random.default_rng(seed).permutation(table.num_rows)[:rows])
        features = self._features(table.take(chosen))
        groups = self._groups(by)
        metric = self._metric
        importance = importances(
            lambda changed: self._model.fuse(self._model.votes(changed)),
            features, targets[chosen], groups, metric, repeats=repeats, seed=seed,
        )  # fmt: skip
        importance["modality"] = [str(modality_of(columns[0])) for columns in groups.values()]
        return importance.sort_values("importance", ascending=False)

    def embed(self, data: Any) -> pd.DataFrame:
        """Return the vectors of the frozen networks for texts and images.

        Returns
        -------
        pandas.DataFrame
            float32, with columns such as ``title_text_0``. A row whose cell is empty has NaN.
        """
        frame = frame_of(data)
        features = self._features(table_of(frame, self._names))
        columns: dict[str, np.ndarray] = {}
        for name, column in features.vectors.items():
            values = np.full((len(features), column.vectors.shape[1]), np.nan, dtype=np.float32)
            values[column.present] = column.vectors[column.index[column.present]]
            columns |= {f"{self._names.own(name)}_{number}": values[:, number] for number in range(values.shape[1])}
        return pd.DataFrame(columns, index=frame.index)

    def _predictions(self, data: Any, on_bad_row: str) -> tuple[np.ndarray, pd.Index]:
        """Return the predictions for all rows, NaN for those that cannot be read, and the index of the data."""
        if on_bad_row not in ("error", "empty"):
            raise UserError(f"on_bad_row is '{on_bad_row}': it must be error or empty.")
        frame = frame_of(data)
        predictions = np.full((len(frame), self._model.task.outputs), np.nan)
        for rows, features in self._read(table_of(frame, self._names), refuse=on_bad_row == "error"):
            predictions[rows] = self._model.fuse(self._model.votes(features))
        return predictions, frame.index

    def _labelled(self, data: Any) -> tuple[pa.Table, np.ndarray]:
        """Return rows and the class index, int64 (rows,), or the number, float64 (rows,), of each."""
        table = table_of(frame_of(data), self._names)
        labels = [trimmed(str(label)) for (label,) in cells_of(table, [LABEL], self._names)]
        target = Target(self._model.task, self.classes, np.empty(0))
        targets = target.values_of(labels)
        if self.classes and (unknown := [label for label, number in zip(labels, targets, strict=True) if number < 0]):
            raise UserError(f"The label '{unknown[0][:60]}' is not a class of the model.")
        return table, targets

    def _read(self, table: pa.Table, *, refuse: bool) -> Iterator[tuple[np.ndarray, Features]]:
        """Yield batches of readable rows: their positions, int (n,), and their features."""
        rows = enumerate(self._rows(table))
        while batch := list(islice(rows, _BATCH)):
            features, problems = self._model.features([cells for _, cells in batch])
            if refuse and any(problems):
                row = next(number for number, problem in enumerate(problems) if problem)
                raise UserError(f"Row {batch[row][0]}: {problems[row]}. on_bad_row='empty' answers the other rows.")
            readable = [number for (number, _), problem in zip(batch, problems, strict=True) if problem is None]
            if readable:
                yield np.array(readable), features

    def _rows(self, table: pa.Table) -> Iterator[list[Any]]:
        """Yield the cells of each row in the order of an inference line, with an empty ID."""
        schema = self._model.schema
        for cells in cells_of(table, schema.features, self._names):
            values = iter(cells)
            yield ["" if column == ID else next(values) for column in schema.inference_columns]

    def _features(self, table: pa.Table) -> Features:
        """Return the features of all rows."""
        if not table.num_rows:
            raise UserError("The data have no row.")
        return Features.joined([features for _, features in self._read(table, refuse=True)])

    @property
    def _metric(self) -> Metric:
        """The metric by which training chose."""
        return metrics_of(self._model.task)[str(self.metrics["eval_metric"])]

    def _groups(self, by: str) -> dict[str, list[str]]:
        schema = self._model.schema
        if by == "column":
            return {self._names.own(column): [column] for column in schema.features}
        if by == "modality":
            return {modality.value: list(schema.of(modality)) for modality in self._model.modalities}
        raise UserError(f"by is '{by}': it must be column or modality.")


def load(location: Location, *, engine: str = "auto") -> Model:
    """Load a trained model.

    Parameters
    ----------
    location
        A ``model.tar.gz``, the folder of one, an extracted artifact, or an ``s3://`` URI of an archive.
    engine
        Engine of the frozen networks: ``auto``, ``torch``, ``onnx``, ``openvino`` or ``tensorrt``.

    Raises
    ------
    UserError
        There is no artifact, it is damaged, or it was trained with other versions of libraries.
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
