"""A channel gives the same dataset and the same findings, in however many parts it is read."""

from __future__ import annotations

import base64
import io
import logging
import multiprocessing
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_job import WriteCsv

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import FeatureSchema, Modality
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.ingest import parts, scan
from multimodal_algo.ingest.dataset import Dataset, join_datasets
from multimodal_algo.ingest.features import Encoders, VectorColumn
from multimodal_algo.ingest.findings import BadRowPolicy
from multimodal_algo.ingest.parts import BAD_ROWS, Part, ReadSettings, first_header, join_parts, read_part
from multimodal_algo.ingest.reading import read_channel
from multimodal_algo.ingest.sources import Source, find_sources
from multimodal_algo.ingest.sources import cut as cut_file

HEADER = ["ID", "a_text", "b_num", "c_cat", "p_image", "q_image", "label"]
SKIP = BadRowPolicy(skip=True, max_fraction=0.1)
# Numbers of the first file of each part but the first; or how many rows the sections of a file have, each a part.
Split = Sequence[int] | int
FEW_SPLITS: list[Split] = [(2,), (1, 2, 3, 4), 9]
SPLITS: list[Split] = [(), (4,), 1, *FEW_SPLITS]

Rows = list[list[str]]
Change = Callable[[dict[str, Rows]], object]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "CHUNK_ROWS", 32)


def colours(images: Sequence[np.ndarray]) -> np.ndarray:
    if not images:
        return np.empty((0, 12), dtype=np.float32)
    return np.stack([image[56::112, 56::112].reshape(-1) for image in images]).astype(np.float32)


def digests(texts: Sequence[str]) -> np.ndarray:
    rows = [np.frombuffer(blake2b(text.encode(), digest_size=5).digest(), dtype=np.uint8) for text in texts]
    return np.array(rows, dtype=np.float32).reshape(len(texts), 5)


def encoders_of(schema: FeatureSchema) -> Encoders:
    return {Modality.IMAGE: colours, Modality.TEXT: digests}


def image(shade: int) -> str:
    stream = io.BytesIO()
    Image.new("RGB", (20, 20), (shade % 256, 90, 30)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def rows(name: str, count: int) -> Rows:
    return [
        [
            f"{name}{n}",
            f'he said "{n % 7}",\nthen left' if n % 5 else "",
            str(n / 8) if n % 4 else "",
            f"{name if n % 2 else ''}{n}",
            image(3 * n) if n % 2 else "",
            image(n) if n % 3 == 0 else "",
            "pq"[n // 3 % 2],
        ]
        for n in range(count)
    ]


def files() -> dict[str, Rows]:
    """Five files with repeated IDs and bad rows; the first bad row that is met is not the first bad one."""
    content = {"1": rows("a", 40), "2": [], "3": rows("c", 60), "4": rows("d", 30), "5": rows("e", 20)}
    content["1"][10][2] = "12kg"
    content["3"][5][0] = "a3"
    content["3"][9][0] = "c7"
    content["3"][20].append("more")
    content["3"][30][4] = "%%%"
    content["3"][31][6] = ""
    content["4"][3][0] = content["4"][4][0] = "c8"
    content["4"][6][6] = "rare"
    content["5"][2][2] = "?"
    content["5"][4].pop()
    for row in content["5"][6:]:
        row[4] = row[5] = ""
    content["5"][7][1] = "long " * 500
    return content


def channel(write_csv: WriteCsv, content: Mapping[str, Rows], header: Sequence[str] = HEADER) -> list[Source]:
    for name, table in content.items():
        path = write_csv(f"train/{name}.csv", [header, *table])
        if name == "4":
            path.unlink()
            pd.DataFrame(table, columns=header).to_parquet(path.with_suffix(".parquet"), row_group_size=7)
    return find_sources(path.parent)


@dataclass
class Outcome:
    """The dataset of a channel or the error, with the warnings and the bad rows."""

    dataset: Dataset | None
    error: str
    warnings: list[str]
    bad_rows: str


def outcome(directory: Path, caplog: pytest.LogCaptureFixture, make: Callable[[], int]) -> Outcome:
    caplog.clear()
    error = ""
    dataset = None
    with caplog.at_level(logging.INFO):
        try:
            count = make()
            dataset = Dataset.read(directory)
            assert len(dataset) == count
        except UserError as raised:
            error = str(raised)
    bad_rows = (directory / BAD_ROWS).read_text() if (directory / BAD_ROWS).is_file() else ""
    return Outcome(dataset, error, [r.getMessage() for r in caplog.records if r.levelname == "WARNING"], bad_rows)


def cut(sources: Sequence[Source], split: Sequence[int]) -> list[Sequence[Source]]:
    bounds = [0, *split, len(sources)]
    return [sources[start:end] for start, end in pairwise(bounds)]


def sections(sources: Sequence[Source], schema: FeatureSchema, rows: int) -> list[Source]:
    """Return the files in sections of `rows` rows."""
    pieces_of_all: list[Source] = []
    for source in sources:
        pieces = cut_file(source, schema.columns, 1, rows)
        pieces_of_all += [replace(source, section=section) for section in pieces] if pieces else [source]
    return pieces_of_all


def read_in_parts(sources: Sequence[Source], split: Split, directory: Path, settings: ReadSettings) -> int:
    if settings.schema is None:
        schema, first_file = first_header(sources)
        settings = replace(settings, schema=schema, first_file=first_file)
    assert settings.schema is not None
    if isinstance(split, int):
        pieces: list[Sequence[Source]] = [[piece] for piece in sections(sources, settings.schema, split)]
    else:
        pieces = cut(sources, split)
    parts: list[tuple[Part, Path]] = []
    for number, piece in enumerate(pieces):
        path = directory.with_name(f"{directory.name}-{number}")
        part = read_part(piece, path, encoders_of, settings)
        assert any(path.iterdir()) == bool(part.rows)
        parts.append((pickle.loads(pickle.dumps(part)), path))
    return join_parts(parts, directory, settings)


def read_whole(sources: Sequence[Source], directory: Path, settings: ReadSettings) -> int:
    assert sources[0].path.parent == directory.parent / "train"
    return read_channel(
        directory.parent / "train",
        directory,
        encoders_of,
        settings,
        executor=LocalExecutor(),
        scratch=directory.with_name(f"{directory.name}.parts"),
    )


def present_vectors(cells: VectorColumn) -> np.ndarray:
    return cells.vectors[cells.index[cells.present]]


def assert_same(result: Outcome, expected: Outcome) -> None:
    assert (result.error, result.warnings, result.bad_rows) == (expected.error, expected.warnings, expected.bad_rows)
    ours, theirs = result.dataset, expected.dataset
    if ours is None or theirs is None:
        assert ours is theirs
        return
    assert (ours.schema, ours.labels, ours.names()) == (theirs.schema, theirs.labels, theirs.names())
    assert ours.largest_row == theirs.largest_row
    pd.testing.assert_frame_equal(ours.features.table, theirs.features.table)
    np.testing.assert_array_equal(ours.keys, theirs.keys)
    assert ours.features.vectors.keys() == theirs.features.vectors.keys()
    for column, cells in ours.features.vectors.items():
        expected_cells = theirs.features.vectors[column]
        np.testing.assert_array_equal(cells.present, expected_cells.present)
        np.testing.assert_array_equal(
            cells.vectors[cells.index[cells.present]],
            expected_cells.vectors[expected_cells.index[expected_cells.present]],
        )
    assert ours.features.pictures.keys() == theirs.features.pictures.keys()
    for column, pictures in ours.features.pictures.items():
        np.testing.assert_array_equal(pictures.spans, theirs.features.pictures[column].spans)
        np.testing.assert_array_equal(pictures.data, theirs.features.pictures[column].data)


@pytest.mark.parametrize("keep_images", [False, True])
def test_parts_joined_are_the_dataset_that_one_pass_writes(
    write_csv: WriteCsv, tmp_path: Path, caplog: pytest.LogCaptureFixture, keep_images: bool
) -> None:
    sources = channel(write_csv, files())
    settings = ReadSettings(SKIP, keep_images=keep_images)
    expected = outcome(tmp_path / "whole", caplog, lambda: read_whole(sources, tmp_path / "whole", settings))
    assert expected.dataset is not None
    assert len(expected.dataset) == 150 - 6
    assert any("column c_cat: mostly unique (" in warning for warning in expected.warnings)
    # That pass joins nothing.
    seen = scan.scan(sources, bad_rows=SKIP)
    assert seen.warnings == tuple(expected.warnings)
    assert seen.largest_row == expected.dataset.largest_row > 2500
    assert any("6 rows that cannot be read were skipped" in warning for warning in expected.warnings)
    assert any("4 IDs more than once (first 'a3', train/3.csv, row 6" in warning for warning in expected.warnings)
    assert [line.split(",")[:2] for line in expected.bad_rows.splitlines()[1:]] == [
        ["train/1.csv", "11"],
        ["train/3.csv", "21"],
        ["train/3.csv", "31"],
        ["train/3.csv", "32"],
        ["train/5.csv", "3"],
        ["train/5.csv", "5"],
    ]
    assert len(sections(sources, expected.dataset.schema, 9)) == 5 + 1 + 7 + 4 + 3
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("ingest: ")]
    assert len(lines) == 1
    assert lines[0].startswith("ingest: 144 rows from 5 files in ")
    for number, split in enumerate(SPLITS):
        path = tmp_path / f"joined{number}"
        assert_same(outcome(path, caplog, lambda s=split, p=path: read_in_parts(sources, s, p, settings)), expected)


def test_parts_may_be_read_by_other_processes(
    write_csv: WriteCsv, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = channel(write_csv, files())
    schema, first_file = first_header(sources)
    settings = ReadSettings(SKIP, schema=schema, first_file=first_file)
    expected = outcome(tmp_path / "whole", caplog, lambda: read_whole(sources, tmp_path / "whole", ReadSettings(SKIP)))

    def read() -> int:
        previous, later = cut(sources, (3,))
        parts = [(read_part(previous, tmp_path / "0", encoders_of, settings), tmp_path / "0")]
        # Another process, with another seed for the hashes of strings.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
            work = other.submit(read_part, later, tmp_path / "1", encoders_of, settings)
            parts.append((work.result(), tmp_path / "1"))
        return join_parts(parts, tmp_path / "joined", settings)

    assert_same(outcome(tmp_path / "joined", caplog, read), expected)


def fill(content: dict[str, Rows], column: int, cell: str) -> None:
    for table in content.values():
        for row in table:
            row[column : column + 1] = [cell]


def few(content: dict[str, Rows]) -> None:
    for name, table in content.items():
        del table[1 if name in "135" else 0 :]


@pytest.mark.parametrize(
    ("change", "policy", "message"),
    [
        (lambda content: None, BadRowPolicy(), "train/3.csv, row 21 (line 38): 8 fields instead of 7 (and 1 more:"),
        (lambda content: None, BadRowPolicy(True, 0.039), "6 of 150 rows cannot be read, more than"),
        (lambda content: fill(content, 6, "p"), SKIP, "holds one class only ('p')"),
        (lambda content: fill(content, 2, ""), SKIP, "The column 'b_num' (num) is empty in every row"),
        (few, SKIP, "The data has 3 rows: training needs at least 10."),
    ],
    ids=["bad rows", "too many bad rows", "one class", "empty column", "few rows"],
)
def test_errors_are_those_of_the_whole(
    write_csv: WriteCsv,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Change,
    policy: BadRowPolicy,
    message: str,
) -> None:
    content = files()
    change(content)
    sources = channel(write_csv, content)
    settings = ReadSettings(policy)
    expected = outcome(tmp_path / "whole", caplog, lambda: read_whole(sources, tmp_path / "whole", settings))
    assert message in expected.error
    assert scan.scan(sources, bad_rows=policy).errors[0] == expected.error.partition(" (3 more: run")[0]
    for number, split in enumerate(FEW_SPLITS):
        path = tmp_path / f"joined{number}"
        assert_same(outcome(path, caplog, lambda s=split, p=path: read_in_parts(sources, s, p, settings)), expected)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "5.csv",
            "ID,a_text,label\n1,x,p\n",
            "train/5.csv: its header differs from that of train/1.csv (missing b_num",
        ),
        ("3.csv", ",".join(HEADER) + '\nx,"torn\n', "train/3.csv, row 1 (line 2): not well-formed CSV"),
        ("1.csv", "no,header\n1,2\n", "train/1.csv: no name in the first line (no, header, …) has a suffix"),
        ("1.csv", '"torn\n', "train/1.csv, line 1: not well-formed CSV"),
        ("1.csv", "\n\n", ""),
    ],
    ids=["other header", "torn row", "no header", "torn header", "blank"],
)
def test_an_error_in_a_file_has_the_same_message(
    write_csv: WriteCsv, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, text: str, message: str
) -> None:
    sources = channel(write_csv, files())
    (tmp_path / "train" / name).write_text(text)
    expected = outcome(tmp_path / "whole", caplog, lambda: read_whole(sources, tmp_path / "whole", ReadSettings(SKIP)))
    assert message in expected.error
    for number, split in enumerate(FEW_SPLITS):
        path = tmp_path / f"joined{number}"
        assert_same(
            outcome(path, caplog, lambda s=split, p=path: read_in_parts(sources, s, p, ReadSettings(SKIP))), expected
        )


def test_another_channel_has_the_columns_of_training_and_may_be_small(
    write_csv: WriteCsv, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = channel(write_csv, {"1": rows("a", 2), "2": [], "3": rows("b", 1)})
    settings = ReadSettings(SKIP, is_training=False, schema=FeatureSchema(tuple(HEADER)))
    other = replace(settings, schema=FeatureSchema(("a_text", "label")))
    for used, message in ((settings, ""), (other, "its header differs from that of training (unexpected ID, b_num")):
        whole = tmp_path / f"whole{len(message)}"
        expected = outcome(whole, caplog, lambda p=whole, u=used: read_whole(sources, p, u))
        assert message in expected.error
        for number, split in enumerate([(1,), (2,), (1, 2)]):
            path = tmp_path / f"joined{len(message)}{number}"
            assert_same(
                outcome(path, caplog, lambda s=split, p=path, u=used: read_in_parts(sources, s, p, u)), expected
            )
    for split in ((), (1,)):
        empty = channel(write_csv, {"1": [], "3": []})
        with pytest.raises(UserError, match="no row that can be read"):
            read_in_parts(empty, split, tmp_path / f"empty{len(split)}", settings)


@pytest.mark.parametrize("limit", [0, 40, 77])
def test_small_pictures_are_kept_of_the_first_rows_of_the_whole(
    write_csv: WriteCsv,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
) -> None:
    monkeypatch.setattr(parts, "_SMALL_ROWS", limit)
    sources = channel(write_csv, files())
    expected = outcome(tmp_path / "whole", caplog, lambda: read_whole(sources, tmp_path / "whole", ReadSettings(SKIP)))
    assert expected.dataset is not None
    for column in ("p_image", "q_image"):
        pictures = expected.dataset.features.pictures[column]
        kept = np.array([pictures.jpeg(row) is not None for row in range(len(expected.dataset))])
        present = expected.dataset.features.vectors[column].present
        assert (kept == (present & (np.arange(len(kept)) < limit))).all()
        assert len(pictures.data) == (np.diff(pictures.spans)).sum()
    for number, split in enumerate(FEW_SPLITS):
        path = tmp_path / f"joined{number}"
        assert_same(
            outcome(path, caplog, lambda s=split, p=path: read_in_parts(sources, s, p, ReadSettings(SKIP))), expected
        )


def test_the_files_of_a_single_part_are_moved_and_the_probe_is_of_the_first(
    write_csv: WriteCsv, tmp_path: Path
) -> None:
    sources = channel(write_csv, {"1": [], "3": rows("c", 12), "4": rows("d", 12)})
    schema, first_file = first_header(sources)
    settings = ReadSettings(SKIP, schema=schema, first_file=first_file)
    paths = [tmp_path / str(number) for number in range(3)]
    parts = [
        (read_part([source], path, encoders_of, settings), path) for source, path in zip(sources, paths, strict=True)
    ]
    assert join_parts(parts, tmp_path / "copied", settings) == 24
    assert any(paths[1].iterdir())
    probe = Dataset.read(tmp_path / "copied").probe
    assert probe["a_text"] == [row[1] for row in rows("c", 12)]
    assert [len(cell) for cell in probe["p_image"]] == [0, 1] * 6
    assert join_parts(parts[:2], tmp_path / "moved", settings) == 12
    assert not any(paths[1].iterdir())
    assert len(Dataset.read(tmp_path / "moved")) == 12


def test_vectors_of_different_networks_are_not_joined(write_csv: WriteCsv, tmp_path: Path) -> None:
    def wider(schema: FeatureSchema) -> dict[Modality, Any]:
        return {**encoders_of(schema), Modality.TEXT: lambda texts: np.zeros((len(texts), 6), dtype=np.float32)}

    sources = channel(write_csv, {"1": rows("a", 12)})
    for name, encoders in (("0", encoders_of), ("1", wider)):
        read_part(sources, tmp_path / name, encoders, ReadSettings(SKIP))
    (tmp_path / "joined").mkdir()
    with pytest.raises(ValueError, match="a_text: vectors of 6 numbers after some of 5"):
        join_datasets([tmp_path / "0", tmp_path / "1"], tmp_path / "joined", 0)
    assert not any((tmp_path / "joined").iterdir())
