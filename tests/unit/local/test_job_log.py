"""The log of a local job is plain where nobody watches, and shows its progress on a terminal."""

from __future__ import annotations

import io

import pytest

from multimodal_algo.local.job_log import job_log

LINES = ["2026 INFO text: fitted [on] 4 rows\n", "2026 INFO branch 2 of 3 (text), 40 s, about 2 min left\n"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("TERM", "xterm")
    with job_log() as log:
        for line in LINES:
            log(line)
    return stream.getvalue()


def test_a_file_gets_every_line_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert written(io.StringIO(), monkeypatch) == "".join(LINES)


def test_a_terminal_shows_the_progress_below_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = written(Terminal(), monkeypatch)
    assert LINES[0].strip() in shown
    assert "2026 INFO branch" not in shown
