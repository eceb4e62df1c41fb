"""Labels that list several classes stay apart from labels with a comma in their names."""

from __future__ import annotations

import pytest

from multimodal_algo.core.label_lists import lists_of_classes


@pytest.mark.parametrize(
    ("labels", "lists"),
    [
        (["Drama", "Comedy", "Drama, Comedy"], ["Drama, Comedy"]),
        (["a|b", "b|c", "a|c", "a"], ["a|b", "b|c", "a|c"]),
        (["x; y", "y; x", "x", "y"], ["x; y", "y; x"]),
        (["yes", "no"], []),
        (["Paris, France", "Lyon, France", "Oslo, Norway"], []),
        (["Home, Kitchen", "Home, Bath"], []),
        (["1,5", "1,2", "2,5", "1", "2", "5"], []),
        (["a,", "b,", "a", "b"], []),
        ([], []),
    ],
)
def test_lists_of_classes(labels: list[str], lists: list[str]) -> None:
    assert lists_of_classes(labels) == lists
