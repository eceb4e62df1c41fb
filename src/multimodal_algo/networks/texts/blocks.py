"""Batches of texts in which the padding of a text depends on the text alone.

Attention sums over tokens in blocks. In bfloat16 a sum depends on the number of blocks, and so on the padding. If all
texts of a batch were padded to the longest one, the vector of a text would depend on the texts next to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

MASK = "attention_mask"
"""The input that says which tokens are not padding. Networks without attention do not have it."""
_BLOCK = 16
# A call has a cost of its own, which few tokens do not outweigh. The activations of many tokens do not fit the caches.
_TOKENS, _TEXTS = 256, 64


def block_batches(mask: np.ndarray, max_tokens: int) -> list[tuple[np.ndarray, int]]:
    """Group texts into batches. Return the rows of each batch, int (n,), and the number of tokens to pad them to.

    Parameters
    ----------
    mask
        Whether each token is not padding, int (texts, tokens). Padding is on the right.
    max_tokens
        Largest number of tokens that the network takes.
    """
    lengths = np.minimum(-(-mask.sum(axis=1) // _BLOCK) * _BLOCK, max_tokens)
    batches = []
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        most = max(1, min(_TEXTS, _TOKENS // length))
        batches += [(rows[start : start + most], length) for start in range(0, len(rows), most)]
    return batches


def padded(inputs: Mapping[str, np.ndarray], rows: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """Return some rows of tokens, int64 (texts, tokens), cut to `length` tokens or filled with 0."""
    parts = {name: value[rows, :length] for name, value in inputs.items()}
    return {name: np.pad(part, ((0, 0), (0, length - part.shape[1]))) for name, part in parts.items()}


def batches_by_length(lengths: Sequence[int], most_texts: int, most_characters: int | None) -> list[list[int]]:
    """Group texts of about the same length into batches, which need little padding. Return the rows of each batch.

    Parameters
    ----------
    lengths
        Number of characters of each text.
    most_texts
        Largest number of texts in a batch.
    most_characters
        Largest number of characters in a batch of several texts, including padding. None means no limit.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        last = batches[-1] if batches else []
        is_full = most_characters is not None and (len(last) + 1) * lengths[row] > most_characters
        if not last or is_full or len(last) == most_texts:
            batches.append([row])
        else:
            last.append(row)
    return batches
