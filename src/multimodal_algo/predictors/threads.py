"""Threads of torch during fits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# Threads share the work of an operation on so many rows. On fewer they mostly wait for each other: next to another
# process that takes a core, a fit of two seconds took seventeen.
ROWS_FOR_THREADS = 20_000
"""Least number of rows for which a fit uses several threads."""


@contextmanager
def threads_for(rows: int) -> Iterator[None]:
    """Use one thread of torch inside the block, where a fit has few rows."""
    import torch  # serving does without it

    before = torch.get_num_threads()
    torch.set_num_threads(before if rows >= ROWS_FOR_THREADS else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
