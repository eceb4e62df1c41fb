from __future__ import annotations

import numpy as np
import pytest

from multimodal_algo.fusion.votes import Votes

FIRST = np.array([[0.9, 0.1, 0], [0, 0, 1], [0.2, 0.8, 0]], dtype=np.float32)
SECOND = np.array([[0.5, 0.5, 0], [0.3, 0.7, 0], [0, 0, 1]], dtype=np.float32)
VOTES = Votes.stack([FIRST, SECOND])


def test_the_last_entry_says_who_has_a_vote() -> None:
    assert (len(VOTES), VOTES.branches, VOTES.outputs) == (3, 2, 2)
    assert VOTES.speaking.tolist() == [[True, True], [False, True], [True, False]]


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([1, 2]), np.array([False, True, True])])
def test_silence_takes_votes_away_and_leaves_the_others(rows: slice | np.ndarray) -> None:
    silenced = VOTES.silence(rows, [1])
    assert silenced.speaking.tolist() == [[True, True], [False, False], [True, False]]
    np.testing.assert_array_equal(silenced.array[:, 0], FIRST)
    np.testing.assert_array_equal(VOTES.array[:, 1], SECOND)


def test_a_branch_alone_gets_the_prior_where_it_has_no_vote() -> None:
    alone = VOTES.alone(0, np.array([0.4, 0.6], dtype=np.float32))
    np.testing.assert_allclose(alone, [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])


def test_votes_for_some_rows_are_no_votes_for_the_others() -> None:
    spread = VOTES.spread_to(np.array([0, 2, 3]), 5)
    np.testing.assert_array_equal(spread.take(np.array([0, 2, 3])).array, VOTES.array)
    assert not spread.speaking[[1, 4]].any()
    assert VOTES.concat(VOTES).branches == 4
