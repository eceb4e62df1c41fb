"""Work dealt out by Ray to two hosts, which are two nodes of Ray on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import ray

from multimodal_algo.core.budget import Budget
from multimodal_algo.core.errors import PlatformError, UserError
from multimodal_algo.core.task import Task
from multimodal_algo.execution.link import Lost
from multimodal_algo.execution.protocol import Parallelism, Resources, SentDirectory, Shared, WorkItem
from multimodal_algo.execution.ranks import Rank
from multimodal_algo.execution.ray_executor import RayExecutor, WorkFailed, find_nodes
from multimodal_algo.execution.ray_node import HOST, RayNode, connect
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.tabular import AutoGluonPredictor

HOSTS = ("algo-1", "algo-2")


@dataclass
class Cluster:
    nodes: dict[str, RayNode]
    executor: RayExecutor
    head: str

    def bring_back(self, host: str) -> None:
        """Start a host that was lost."""
        self.nodes[host] = RayNode(host, "127.0.0.1", gpus=0)
        self.nodes[host].start(self.head)
        self.executor = RayExecutor(find_nodes(HOSTS, lambda: None, 60), lambda: None)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    environment = dict(os.environ)
    # Work is found by name, and this file is not installed.
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    nodes: dict[str, RayNode] = {}
    head: str | None = None
    for host in HOSTS:
        nodes[host] = RayNode(host, "127.0.0.1", gpus=0)
        head = nodes[host].start(head)
        if host == HOSTS[0]:
            connect(head, nodes[host])
    try:
        assert head is not None
        yield Cluster(nodes, RayExecutor(find_nodes(HOSTS, lambda: None, 60), lambda: None), head)
    finally:
        ray.shutdown()
        for node in nodes.values():
            node.stop()
        os.environ.clear()
        os.environ.update(environment)


def where(directory: Path) -> str:
    """The host that does it, in a file too."""
    (directory / "below").mkdir()
    (directory / "below/host.txt").write_text(os.environ[HOST])
    (directory / "empty").write_bytes(b"")
    return os.environ[HOST]


def fail(error: Exception, directory: Path) -> None:
    raise error


def add(shared: Shared[np.ndarray], directory: Path) -> tuple[float, bool]:
    return float(shared.get().sum()), shared.get().flags.writeable


def read(sent: SentDirectory, directory: Path) -> str:
    return (sent.path() / "a/b.txt").read_text()


def leave(sent: SentDirectory, directory: Path) -> tuple[Path, Path]:
    return sent.path(), directory


def together(directory: Path, rank: Rank) -> tuple[int, int]:
    (directory / "rank").write_text(str(rank.rank))
    return rank.rank, rank.size


def begin(marks: Path, directory: Path) -> str:
    """Say which host has begun; the second host's never ends, and the first's not before that has begun."""
    (marks / os.environ[HOST]).touch()
    while os.environ[HOST] == HOSTS[1] or not (marks / HOSTS[1]).exists():
        os.sched_yield()
    return os.environ[HOST]


def meet(marks: Path, directory: Path, *rank: Rank) -> str:
    """Of two processes the one on the second host never ends, and the other one fails when that host is lost."""
    if not rank or rank[0].size == 1:
        return os.environ[HOST]
    (marks / f"met-{os.environ[HOST]}").touch()
    while os.environ[HOST] == HOSTS[1] or not (marks / "lost").exists():
        os.sched_yield()
    raise ConnectionError("the other one has hung up")


def test_what_is_known_of_the_hosts(cluster: Cluster) -> None:
    executor = cluster.executor
    assert executor.resources == Resources(HOSTS, width=2, gpus=0, gpus_per_host=0, in_process=False)
    assert executor.ask_hosts(lambda: os.environ[HOST]) == dict(zip(HOSTS, HOSTS, strict=True))


def test_values_and_files_come_back_from_the_host_that_was_asked(cluster: Cluster, tmp_path: Path) -> None:
    items = [WorkItem(host, where, host=host) for host in (*HOSTS, *HOSTS)]
    found = {done.number: done for done in cluster.executor.run(items, tmp_path)}
    assert [found[number].value for number in range(4)] == [*HOSTS, *HOSTS]
    assert [(found[n].directory / "below/host.txt").read_text() for n in range(4)] == [*HOSTS, *HOSTS]
    assert (found[0].directory / "empty").read_bytes() == b""


@pytest.mark.parametrize("error", [UserError("train/a.csv, row 3: wrong."), PlatformError("no such file")])
def test_an_error_names_its_host(cluster: Cluster, tmp_path: Path, error: Exception) -> None:
    item = WorkItem("it", partial(fail, error), host="algo-2")
    with pytest.raises(type(error)) as raised:
        list(cluster.executor.run([item], tmp_path))
    assert str(raised.value) == f"algo-2: {error}"


def test_a_bug_names_its_host_and_leaves_its_traceback(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    item = WorkItem("it", partial(fail, ZeroDivisionError("by 0")), host="algo-2")
    with pytest.raises(WorkFailed, match=r"^algo-2: ZeroDivisionError: by 0$"):
        list(cluster.executor.run([item], tmp_path))
    assert "in fail" in caplog.text


def test_values_and_directories_are_shared(cluster: Cluster, tmp_path: Path) -> None:
    executor = cluster.executor
    shared = executor.share(np.ones(1_000_000))
    items = [WorkItem(host, partial(add, shared), host=host) for host in HOSTS]
    # In shared memory, where nobody may write.
    assert [done.value for done in executor.run(items, tmp_path / "added")] == [(1_000_000.0, False)] * 2
    (tmp_path / "sent/a").mkdir(parents=True)
    (tmp_path / "sent/a/b.txt").write_text("here")
    sent = SentDirectory.send(tmp_path / "sent", executor)
    items = [WorkItem(host, partial(read, sent), host=host) for host in HOSTS]
    assert [done.value for done in executor.run(items, tmp_path / "read")] == ["here"] * 2


def test_several_processes_do_one_piece_of_work(cluster: Cluster, tmp_path: Path) -> None:
    # More are asked for than there is room for.
    (done,) = cluster.executor.run([WorkItem("it", together, ranks=5)], tmp_path)
    assert done.value == (0, 2)
    assert (done.directory / "rank").read_text() == "0"


def test_folds_that_others_fit_are_those_fitted_here(cluster: Cluster, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, 240)
    words = np.array(["red apple", "green pear", "blue plum"], dtype=object)
    inputs = pd.DataFrame(
        {"a_num": targets + generator.normal(0, 0.7, 240), "b_text": generator.permutation(words)[targets]}
    )
    folds = np.arange(240) % 4

    def fit(name: str, parallelism: Parallelism | None) -> np.ndarray:
        settings = FitSettings(
            name=name,
            task=Task.of_classes(3),
            model_settings={"WIDE": [{"C": 3}, {"C": 1}], "GBM": {"num_boost_round": 20}},
            seed=0,
            scratch=tmp_path / name,
            budget=Budget.starting_now(120),
            parallelism=parallelism,
        )
        predictor, out_of_fold = AutoGluonPredictor.fit(inputs, targets, folds, settings)
        return np.concatenate([out_of_fold, predictor.predict(inputs)])

    looks: list[int] = []
    executor = RayExecutor(cluster.executor.nodes, lambda: looks.append(1))
    assert fit("on_both", Parallelism(executor, 2)) == pytest.approx(fit("here", None), abs=1e-6)
    assert looks  # while others worked


def test_work_of_a_lost_host_is_done_again_by_another(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    lost: list[str] = []

    def look() -> None:
        if not lost and (tmp_path / "marks/algo-2").exists():
            lost.append("algo-2")
            cluster.nodes["algo-2"].stop()

    executor = RayExecutor(cluster.executor.nodes, look)
    items = [WorkItem(str(n), partial(begin, tmp_path / "marks")) for n in range(4)]
    found = [done.value for done in executor.run(items, tmp_path / "done")]
    assert lost == ["algo-2"]
    assert found == ["algo-1"] * 4
    with pytest.raises(Lost, match=r"^algo-2 was lost, and with it its share of the data \(its files\)"):
        list(executor.run([WorkItem("its files", where, host="algo-2")], tmp_path / "pinned"))


def test_a_host_leaves_nothing_behind(cluster: Cluster, tmp_path: Path) -> None:
    cluster.bring_back("algo-2")
    (tmp_path / "sent").mkdir()
    (tmp_path / "sent/a.txt").write_text("here")
    sent = SentDirectory.send(tmp_path / "sent", cluster.executor)
    item = WorkItem("it", partial(leave, sent), host="algo-2")
    ((written, scratch),) = (done.value for done in cluster.executor.run([item], tmp_path / "done"))
    assert (written / "a.txt").exists()
    cluster.nodes["algo-2"].stop()
    assert not written.exists()
    assert not scratch.parent.exists()


def test_processes_that_lose_one_of_them_begin_again(cluster: Cluster, tmp_path: Path) -> None:
    cluster.bring_back("algo-2")

    def look() -> None:
        if (tmp_path / "met-algo-2").exists() and not (tmp_path / "lost").exists():
            cluster.nodes["algo-2"].stop()
            (tmp_path / "lost").touch()

    executor = RayExecutor(cluster.executor.nodes, look)
    (done,) = executor.run([WorkItem("it", partial(meet, tmp_path), ranks=2)], tmp_path / "done")
    assert (tmp_path / "lost").exists()
    assert done.value == "algo-1"
