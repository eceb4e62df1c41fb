"""What the others hear of a host that cannot take part."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from multimodal_algo.core.errors import PlatformError
from multimodal_algo.execution import roles
from multimodal_algo.execution.hosts import Hosts
from multimodal_algo.execution.link import Leader, Member

NAMES = ("127.0.0.1", "127.0.0.2")


@pytest.mark.parametrize("is_invited", [False, True])
def test_a_host_without_a_usable_gpu_fails_all(is_invited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = Leader(Hosts(NAMES[0], NAMES), port=0)
    join = Member.join
    monkeypatch.setattr(Member, "join", lambda hosts, timeout_s: join(hosts, timeout_s, leader.port))
    causes: list[str | None] = []

    def gpus() -> int:
        raise PlatformError("its driver is too old")

    def follow() -> None:
        roles.follow(Hosts(NAMES[1], NAMES), gpus, 5, on_end=causes.append)

    with ThreadPoolExecutor(2) as pool:
        following = pool.submit(follow)
        with pytest.raises(PlatformError, match=r"^127\.0\.0\.2: its driver is too old$") as raised:
            look_on(leader)
        if is_invited:  # it had come, so the first host may have gone on
            leader.invite("127.0.0.1:1")
        leader.end(str(raised.value))
        with pytest.raises(PlatformError, match=r"^127\.0\.0\.2: its driver is too old$"):
            following.result(5)
    assert causes == ["127.0.0.2: its driver is too old"]


def look_on(leader: Leader) -> None:
    while True:
        leader.require_all_well()
