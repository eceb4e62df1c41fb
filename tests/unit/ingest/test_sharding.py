"""The files of a channel are known on all hosts, and each is dealt to a host that has it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.core.schema import FeatureSchema
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.ingest import sharding
from multimodal_algo.ingest.sharding import Shard, cut_shards, deal, digest_of, find_shards, unchanged


@dataclass
class Several(LocalExecutor):
    """Hosts whose directories lie side by side; each question is asked in turn, with the directory in its place."""

    root: Path
    names: tuple[str, ...]

    def ask_hosts(self, question: Callable[[], Any]) -> dict[str, Any]:
        function, (_, *arguments) = question.func, question.args  # type: ignore[attr-defined]
        return {host: function(self.root / host / "train", *arguments) for host in self.names}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, rows in (("a.csv", 3), ("b/c.csv", 5), ("b-d.csv", 2), ("z.csv", 4)):
        path = tmp_path / "whole/train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("label,x_num\n" + "a,1\n" * rows)
    return tmp_path


def copies(files: Path, hosts: tuple[str, ...]) -> Iterator[Path]:
    for host in hosts:
        yield Path(shutil.copytree(files / "whole/train", files / host / "train"))


def test_replicated_files_are_known_by_all_in_the_order_of_one_directory(files: Path) -> None:
    first, _ = copies(files, ("algo-1", "algo-2"))
    shards = find_shards(first, Several(files, ("algo-1", "algo-2")))
    alone = find_shards(files / "whole/train", LocalExecutor())
    assert (
        [shard.name for shard in shards] == [shard.name for shard in alone] == ["a.csv", "b/c.csv", "b-d.csv", "z.csv"]
    )
    assert {shard.hosts for shard in shards} == {("algo-1", "algo-2")}


def test_a_share_of_the_files_has_the_digest_of_all(files: Path) -> None:
    first, second = copies(files, ("algo-1", "algo-2"))
    for directory, name in ((first, "b/c.csv"), (first, "z.csv"), (second, "a.csv"), (second, "b-d.csv")):
        (directory / name).unlink()
    executor = Several(files, ("algo-1", "algo-2"))
    assert digest_of(first, executor, whole=True) == digest_of(files / "whole/train", LocalExecutor(), whole=True)
    assert [(shard.name, shard.hosts) for shard in find_shards(first, executor)] == [
        ("a.csv", ("algo-1",)), ("b/c.csv", ("algo-2",)), ("b-d.csv", ("algo-1",)), ("z.csv", ("algo-2",)),
    ]  # fmt: skip


def test_files_that_differ_are_refused(files: Path) -> None:
    first, second = copies(files, ("algo-1", "algo-2"))
    (second / "a.csv").write_text("label,x_num\n")
    with pytest.raises(PlatformError, match=r"train/a\.csv differs on algo-1 and algo-2"):
        find_shards(first, Several(files, ("algo-1", "algo-2")))


def test_nothing_anywhere_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="Put at least one"):
        find_shards(tmp_path / "train", LocalExecutor())
    with pytest.raises(UserError, match="there is no such file"):
        digest_of(tmp_path / "train", LocalExecutor(), whole=True)


@pytest.mark.parametrize("width", [1, 4])
def test_a_large_file_is_cut_into_sections_and_a_small_one_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(sharding, "_CUT_BYTES", 0)
    monkeypatch.setattr(sharding, "CHUNK_ROWS", 20)
    train = tmp_path / "train"
    train.mkdir()
    for name, rows in (("a.csv", 10), ("b.csv", 900), ("c.csv", 10)):
        (train / name).write_text("label,x_num\n" + "".join(f"{'pq'[n % 2]},{n}\n" for n in range(rows)))
    executor = LocalExecutor()
    whole = find_shards(train, executor)
    cut = cut_shards(whole, train, FeatureSchema(("label", "x_num")), width, executor, tmp_path / "cuts")
    assert [shard.name for shard in cut] == ["a.csv", *["b.csv"] * (len(cut) - 2), "c.csv"]
    assert 3 * width <= len(deal(cut, width)) <= 3 * width + 2


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_every_file_is_dealt_once_to_a_host_that_has_it(slots: int) -> None:
    hosts = ("algo-1", "algo-2", "algo-3")
    files = [Shard(f"{n}.csv", 100 + n, hosts if n % 4 else (hosts[n % 3],)) for n in range(40)]
    dealt = deal(files, slots)
    assert sorted(number for _, numbers in dealt for number in numbers) == list(range(40))
    for host, numbers in dealt:
        assert all(host is None or host in files[number].hosts for number in numbers)
        assert host is not None or all(len(files[number].hosts) == 3 for number in numbers)
    assert sum(host is None for host, _ in dealt) >= slots


@pytest.mark.parametrize("change", ["shrinks", "grows", "is gone", "is new"])
def test_a_file_that_changes_while_it_is_read_is_not_taken_for_whole(files: Path, change: str) -> None:
    channel = files / "whole/train"

    def read() -> None:
        path = channel / ("new.csv" if change == "is new" else "a.csv")
        content = (channel / "a.csv").read_text()
        path.write_text(content[:10] if change == "shrinks" else content * 2)
        if change == "is gone":
            path.unlink()
            raise UserError("row 2: 2 fields instead of 4")

    with (
        pytest.raises(UserError, match="train: the files changed while they were read"),
        unchanged(channel, LocalExecutor()),
    ):
        read()


def test_the_error_of_a_reader_stays_where_no_file_changed(files: Path) -> None:
    with pytest.raises(UserError, match="2 fields"), unchanged(files / "whole/train", LocalExecutor()):
        raise UserError("row 2: 2 fields instead of 4")
    with unchanged(files / "whole/train", LocalExecutor()):
        pass


def test_a_file_that_is_removed_while_its_digest_is_made_is_named_as_a_change(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed_first(path: Path) -> str:
        path.unlink()
        return sha256(path)

    monkeypatch.setattr("multimodal_algo.ingest.sharding.sha256", removed_first)
    with pytest.raises(UserError, match="train: the files changed while they were read"):
        digest_of(files / "whole/train", LocalExecutor(), whole=True)
