"""The tokeniser of a text network, without the ``transformers`` library: its import takes seconds and much memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "tokenizer.json"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
"""The arrays that networks take, by the names of the ``transformers`` library."""


class Tokens:
    """The ``tokenizers`` library's tokeniser, which cuts texts to the network's length and pads them to the longest.

    Parameters
    ----------
    tokenizer
        Tokeniser whose truncation and padding are set.
    names
        Names of the arrays that the network takes, among `INPUTS`.
    """

    def __init__(self, tokenizer: Tokenizer, names: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self.names = tuple(names)

    @classmethod
    def of(cls, tokenizer: Any, names: Sequence[str]) -> Tokens | None:
        """Return the tokeniser of a ``transformers`` tokeniser that was used once, with its truncation and padding.

        None where it is not one of the ``tokenizers`` library, or gives other arrays than `INPUTS`.
        """
        from tokenizers import Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None or not set(names) <= set(INPUTS):
            return None
        return cls(Tokenizer.from_str(backend.to_str()), names)

    @classmethod
    def read(cls, directory: Path, names: Sequence[str]) -> Tokens:
        """Read what `write` wrote into a network's directory."""
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_file(str(directory / TOKENIZER)), names)

    def write(self, directory: Path) -> None:
        """Write the tokeniser into a network's directory, with its truncation and padding."""
        self._tokenizer.save(str(directory / TOKENIZER))

    def __call__(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the arrays of texts by their names, int64 (texts, tokens)."""
        encodings = self._tokenizer.encode_batch(list(texts))
        arrays = {
            "input_ids": [encoding.ids for encoding in encodings],
            "token_type_ids": [encoding.type_ids for encoding in encodings],
            "attention_mask": [encoding.attention_mask for encoding in encodings],
        }
        return {name: np.asarray(arrays[name], dtype=np.int64) for name in self.names}
