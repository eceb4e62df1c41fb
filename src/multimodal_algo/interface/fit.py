"""Training from Python, with the same program as on SageMaker."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from multimodal_algo.core.column_names import AUTO, ColumnNames
from multimodal_algo.core.schema import ID, LABEL
from multimodal_algo.interface.frames import frame_of, table_of
from multimodal_algo.interface.model import Model, load
from multimodal_algo.local import ChannelData, TrainingJob, train

_PARQUET = "application/x-parquet"


def fit(
    data: Any,
    label: str = LABEL,
    *,
    columns: Mapping[str, str] | str = AUTO,
    validation: Any = None,
    images: Path | str | None = None,
    output: Path | str | None = None,
    verbose: bool = True,
    **hyperparameters: Any,
) -> Model:
    """Train a model on a data frame or on files.

    Training runs in a separate process, just as with the command ``multimodal-algo local train``.

    Parameters
    ----------
    data
        Rows with their labels: a data frame of pandas, polars or pyarrow, a dict of columns, a list of dicts, or the
        path or ``s3://`` URI of CSV or Parquet files. Images are encoded bytes, base64, `PIL.Image.Image` or paths.
    label
        Name of the column to predict.
    columns
        Kinds of columns whose names have no suffix, for example ``{"title": "text", "price": "num", "url": "drop"}``.
        The kinds of other such columns are found from their cells.
    validation
        Rows for the metrics, in the same forms as `data`. By default, rows of `data` are held out.
    images
        Folder of the image files that the cells name.
    output
        Folder for ``model.tar.gz`` and the report. It is created if it does not exist. By default, they are not kept.
    verbose
        Whether to print the log of the training job.
    hyperparameters
        Hyperparameters of the training job, for example ``quality="very_light", n_mins=4``, or ``id="sku"``.

    Returns
    -------
    Model
        The trained model.

    Raises
    ------
    UserError
        Anything that the user can fix, in the data or in the hyperparameters.

    Examples
    --------
    >>> import multimodal_algo
    >>> model = multimodal_algo.fit(frame, label="category", quality="toy", n_secs=30)  # doctest: +SKIP
    >>> model.evaluate(held_out, ["accuracy"])  # doctest: +SKIP
    """
    with tempfile.TemporaryDirectory(prefix="multimodal-fit-") as scratch:
        kinds = columns if isinstance(columns, str) else json.dumps(dict(columns))
        names = ColumnNames.parse(label, hyperparameters.get("id", ID), kinds)
        channels = {"train": _channel(data, Path(scratch) / "train", names)}
        if validation is not None:
            channels["validation"] = _channel(validation, Path(scratch) / "validation", names)
        if images is not None:
            channels["images"] = ChannelData(Path(images))
        values = {"label": label, "columns": kinds} | hyperparameters
        job = TrainingJob(
            channels, {name: hyperparameter_text(value) for name, value in values.items() if value is not None}
        )
        folder = Path(tempfile.mkdtemp(prefix="multimodal-job-")) if output is None else Path(output)
        archive = train(job, output=folder, log=sys.stdout.write if verbose else len)
    model = load(archive)
    if output is None:
        weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    return model


def _channel(data: Any, folder: Path, names: ColumnNames) -> ChannelData:
    """Return `data` as a channel (an input) of the training job.

    A data frame is written to `folder` as a Parquet file.
    """
    if isinstance(data, str | Path):
        location = data if isinstance(data, str) and data.startswith("s3://") else Path(data)
        return ChannelData(location, _PARQUET) if str(data).endswith(".parquet") else ChannelData(location)
    folder.mkdir()
    write_rows(data, names, folder)
    return ChannelData(folder, _PARQUET)


def write_rows(data: Any, names: ColumnNames, folder: Path) -> Path:
    """Write a data frame as ``data.parquet`` into a folder, and return its path. See `frames.table_of`."""
    path = folder / "data.parquet"
    pq.write_table(table_of(frame_of(data), names), path)
    return path


def hyperparameter_text(value: Any) -> str:
    """Return the value of a hyperparameter as the text that SageMaker passes to a job."""
    if isinstance(value, list | tuple) and all(isinstance(text, str) and "," not in text for text in value):
        return ",".join(value)
    return json.dumps(value) if isinstance(value, bool | list | tuple | dict) else str(value)
