"""Real fits on small data: every subset of modalities, awkward labels, and the same answer from each path."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from small_job import PARAMETERS, WEIGHTS_DIR, WriteCsv

from multimodal_algo.artifact import read_config
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.inference import InferenceOptions
from multimodal_algo.report.metrics import Metrics
from multimodal_algo.serving.decoding import Kind
from multimodal_algo.serving.loaded_model import LoadedModel
from multimodal_algo.serving.service import ModelService, ServedModel
from multimodal_algo.training.job import ChannelPaths, JobDirectories, train


def fit(data: Path, directory: Path, **parameters: str) -> tuple[LoadedModel, Metrics]:
    metrics = train(
        ChannelPaths(data),
        HyperParameters.parse({**PARAMETERS, **parameters}),
        JobDirectories.below(directory, weights=WEIGHTS_DIR),
    )
    return LoadedModel.load(directory / "model"), metrics


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize(
    "columns",
    [["title_text"], ["price_num"], ["maker_cat"], ["photo_image"], ["maker_cat", "title_text", "ID"]],
    ids=lambda columns: "+".join(columns),
)
def test_any_subset_of_modalities_works_down_to_one_column(
    sample: Path, write_csv: WriteCsv, tmp_path: Path, columns: list[str]
) -> None:
    rows = table(sample / "train.csv")
    keep = [rows[0].index(column) for column in [*columns, "label"]]
    model, metrics = fit(
        write_csv("train.csv", [[row[n] for n in keep] for row in rows]), tmp_path, n_mins="0", n_secs="15"
    )
    test = [[row[n] for n in keep[:-1]] for row in table(sample / "test.csv")[1:]]
    answers = model.predict(test)
    assert len(answers) == len(test)
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert metrics.fused["accuracy"] >= 0.25


def test_fusion_is_better_than_the_best_branch_on_the_sample(artifact: Path, sample: Path) -> None:
    model = LoadedModel.load(artifact)
    header, *rows = table(sample / "test.csv")
    assert header[-1] == "label"
    labels = np.array([model.classes.index(row[-1]) for row in rows])
    features, _ = model.features([row[:-1] for row in rows])
    votes = model.votes(features)
    fused = float((model.fuse(votes).argmax(axis=1) == labels).mean())
    alone = [(votes.array[:, m, :-1].argmax(axis=1) == labels).mean() for m in range(votes.branches)]
    assert fused >= max(alone)


def test_a_row_without_a_vote_in_a_branch_gets_exactly_the_last_entry(artifact: Path) -> None:
    model = LoadedModel.load(artifact)
    names = [entry.name for entry in model.config.branches]
    rows = [
        ["1", "", "", "", "", "", "", ""],
        ["2", "a lamp", "", "3", "", "red", "", ""],
        ["3", "", "", "3", "", "", "", ""],
    ]
    features, _ = model.features(rows)
    vectors = model.votes(features).array
    nothing = np.eye(len(model.classes) + 1, dtype=np.float32)[-1]
    np.testing.assert_array_equal(vectors[0], np.tile(nothing, (len(names), 1)))
    # joint has a vote where two modalities have values.
    speaking = {1: set(names) - {"img/photo_image"}, 2: {"num"}}
    for row, expected in speaking.items():
        for name, vector in zip(names, vectors[row], strict=True):
            assert np.array_equal(vector, nothing) == (name not in expected)
            assert vector[-1] == (0 if name in expected else 1)


def test_answers_do_not_depend_on_the_rows_next_to_them(artifact: Path, sample: Path) -> None:
    model = LoadedModel.load(artifact)
    rows = table(sample / "test_noheader.csv")
    together = model.predict(rows)
    alone = np.concatenate([model.predict([row]) for row in rows[:10]])
    np.testing.assert_allclose(together[:10], alone, atol=1e-4)


def test_rare_and_awkward_labels_are_kept_with_their_spelling(write_csv: WriteCsv, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = ["01", "NA", "None", "1", "müsli, roh", "nan"]
    rows = [
        [f"{generator.normal(n % 6, 0.1):.3f}", ["NA", "None", "null", "x", "y", "z"][n % 6], labels[n % 6]]
        for n in range(90)
    ]
    rows += [["50", "NA", "only once"], ["60", "x", "twice"], ["61", "x", "twice"]]
    data = write_csv("train.csv", [["a_num", "b_cat", "label"], *rows])
    model, _ = fit(data, tmp_path, n_mins="0", n_secs="15")
    assert model.classes == tuple(sorted({row[-1] for row in rows}))
    probabilities = model.predict([row[:2] for row in rows])
    right = [model.classes[best] == row[-1] for best, row in zip(probabilities.argmax(axis=1), rows, strict=True)]
    assert np.mean(right) > 0.9
    assert np.all(probabilities >= 0)


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        (["a_num", "b_cat", "c_text", "label"], [["1", "x", "same", "ab"[n % 2]] for n in range(30)]),
        (["a_num", "label"], [[str(n), str(n)] for n in range(12)]),
        (["a_text", "b_num", "label"], [["w" if n in (3, 4) else "", str(n), "ab"[n % 2]] for n in range(30)]),
        (
            ["a/../b_cat", 'x,"y"_num', "[ü]_text", "label"],
            [["pq"[n % 2], str(n), f"t {n}", "ab"[n % 2]] for n in range(30)],
        ),
    ],
    ids=["constant columns", "each row its class", "two rows with text", "column names"],
)
def test_data_that_teaches_little_still_gives_a_model(
    write_csv: WriteCsv, tmp_path: Path, header: list[str], rows: list[list[str]]
) -> None:
    model, _ = fit(write_csv("train.csv", [header, *rows]), tmp_path, n_mins="0", n_secs="5")
    probabilities = model.predict([row[:-1] for row in rows])
    assert probabilities.shape == (len(rows), len({row[-1] for row in rows}))
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_an_image_column_may_have_any_name(sample: Path, write_csv: WriteCsv, tmp_path: Path) -> None:
    header, *rows = table(sample / "train.csv")
    photo = header.index("photo_image")
    named = [["../a/b_image", "label"], *[[row[photo], row[-1]] for row in rows]]
    model, _ = fit(write_csv("train.csv", named), tmp_path, n_mins="0", n_secs="10")
    assert model.features([[rows[0][photo]]])[1] == [None]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "model", "output", "train.csv"]


def test_two_classes_and_own_column_names_work(write_csv: WriteCsv, tmp_path: Path) -> None:
    rows = [[str(n), f"https://x.org/{n}", "yes" if n % 3 else "no"] for n in range(60)]
    data = write_csv("train.csv", [["size", "url", "works"], *rows])
    model, _ = fit(data, tmp_path, n_mins="0", n_secs="5", label="works", columns="url=drop")
    assert model.predict([["1"]]).shape == (1, 2)
    assert json.loads(model.config.hyperparameters["columns"]) == {"url": "drop", "size": "num"}
    options = InferenceOptions.of({}, {}, schema=model.schema, task=model.task, is_batch=False)
    service = ModelService(lambda: ServedModel(model, options), lambda: 0.0)
    assert service.load()
    answers = [
        service.answer(body, kind, Kind.JSON_LINES)
        for body, kind in ((b'{"size": 7, "url": ""}', Kind.JSON), (b"works,size\n,7\n", Kind.CSV), (b"7\n", Kind.CSV))
    ]
    assert answers[0] == answers[2]
    assert answers[1].splitlines()[-1] == answers[2].strip()
    # A job that goes on from the model has its names and kinds.
    channels = ChannelPaths(data, model=tmp_path / "model")
    train(
        channels,
        HyperParameters.parse({**PARAMETERS, "n_mins": "0", "n_secs": "2"}),
        JobDirectories.below(tmp_path / "next", weights=WEIGHTS_DIR),
    )
    assert read_config(tmp_path / "next/model").names == model.config.names


def test_a_tiny_budget_still_gives_every_modality_a_model(sample: Path, tmp_path: Path) -> None:
    model, metrics = fit(sample / "train.csv", tmp_path, n_mins="0", n_secs="1")
    assert {"text", "num", "cat", "img/photo_image"} <= metrics.modalities.keys()
    assert len(model.predict(table(sample / "test_noheader.csv"))) == 40
