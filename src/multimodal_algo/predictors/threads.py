"""The number of threads that torch uses during fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

# Threads share the work of an operation on so many rows. On fewer they mostly wait for each other: next to another
# process that takes a core, a fit of two seconds took seventeen.
ROWS_FOR_THREADS = 20_000
"""Least number of rows for which a fit uses several threads."""


def threads_for(rows: int) -> AbstractContextManager[None]:
    """Return a context in which torch uses one thread, if a fit has few rows.

    Threads would only wait for each other.
    """
    return nullcontext() if rows >= ROWS_FOR_THREADS else one_thread()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block."""
    import torch  # serving does without it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
