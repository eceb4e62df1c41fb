"""Detection of labels that list several classes in one cell, for example ``Drama, Comedy``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from multimodal_algo.core.labels import number_of

_SEPARATORS = (",", "|", ";", "/")
# At least this share of the parts must be in several labels. In "Paris, France", the first part is in one label alone.
_REPEATED = 0.8


def lists_of_classes(labels: Collection[str]) -> list[str]:
    """Return the labels that seem to list several classes.

    A separator splits labels into parts. Labels are lists if there are no more different parts than labels, and if at
    least 80 % of the parts occur in more than one label.

    Parameters
    ----------
    labels
        The different labels of the data.

    Returns
    -------
    list[str]
        The labels that are lists, in the order of `labels`. Empty if all labels are single classes.
    """
    for separator in _SEPARATORS:
        parts = {label: {part.strip() for part in label.split(separator)} for label in labels}
        lists = [label for label in labels if len(parts[label]) > 1 and all(parts[label])]
        counts = Counter(part for each in parts.values() for part in each)
        listed = {part for label in lists for part in parts[label]}
        if not lists or all(number_of(part) is not None for part in listed):
            continue
        repeated = sum(counts[part] > 1 for part in listed)
        if len(listed) <= len(labels) and repeated >= _REPEATED * len(listed):
            return lists
    return []
