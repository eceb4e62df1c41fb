from __future__ import annotations

from functools import reduce
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from multimodal_algo.ingest.occurrences import Identities, Occurrences


def identities(rows: list[tuple[int, str]]) -> Identities:
    result = Identities()
    for number, identity in rows:
        result.add(identity, f"row {number}")
    return result


def merged(previous: Identities, later: Identities) -> Identities:
    result = Identities()
    result.merge(previous)
    result.merge(later)
    return result


@given(st.lists(st.sampled_from("abcdefgh"), max_size=12), st.lists(st.integers(0, 12), max_size=3))
def test_repeated_ids_are_the_same_however_rows_are_cut_and_joined(names: list[str], cuts: list[int]) -> None:
    rows = list(enumerate(names))
    bounds = [0, *sorted(cuts), len(rows)]
    parts = [identities(rows[start:end]) for start, end in pairwise(bounds)]
    whole = identities(rows)
    from_left = reduce(merged, parts)
    from_right = reduce(lambda later, previous: merged(previous, later), reversed(parts))
    expected = (whole.repeated, whole.first)
    assert (from_left.repeated, from_left.first) == (from_right.repeated, from_right.first) == expected
    assert whole.repeated == len(names) - len(set(names))


def test_occurrences_have_the_first_rows_and_the_first_example() -> None:
    previous, later = Occurrences(), Occurrences()
    for number in range(3):
        previous.add(f"row {number}")
        later.add(f"row {number + 3}", f"example {number}")
    previous.merge(later)
    assert previous == Occurrences(6, [f"row {number}" for number in range(5)], "example 0")
