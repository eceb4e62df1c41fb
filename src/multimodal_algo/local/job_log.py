"""Shows the log of a training job on this machine: its lines, and on a terminal also the progress below them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Lines with the progress of the fits, see `training.fit_progress`, and of the reading.
_PROGRESS = re.compile(r"(?:branch \d+ of \d+ \(|\d+ of \d+ branches, |ingest: \d+ rows, ).*")


@contextmanager
def job_log() -> Iterator[Callable[[str], object]]:
    """Give a function that shows a line of a job's log, as a context.

    On a terminal, the progress stays in the last line, next to a moving sign. If the output is not a terminal, every
    line is written as it comes, without control characters.
    """
    if not sys.stdout.isatty():
        yield sys.stdout.write
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    with console.status("the training program starts") as status:

        def show(line: str) -> None:
            if match := _PROGRESS.search(line):
                status.update(match[0])
            else:
                console.print(line, end="")

        yield show
