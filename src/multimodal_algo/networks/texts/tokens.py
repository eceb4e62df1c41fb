"""Tokenisers: turn texts into the arrays that a text network takes. Nothing here imports torch."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# No network has a longer piece on average, so what is cut off lies beyond its last token.
_CHARACTERS_PER_TOKEN = 32
_PADDING = -1


class Tokens(ABC):
    """A tokeniser with its settings. It turns each text into one row of token IDs."""

    kind: str

    @abstractmethod
    def __call__(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the token arrays of texts, int64 (texts, tokens), by name of the network's input."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the settings from which `load_tokens` makes the tokeniser again."""

    @abstractmethod
    def save(self, directory: Path) -> None:
        """Write the vocabulary into an existing `directory`, from which `load_tokens` reads it."""


class PieceTokens(Tokens):
    """A SentencePiece tokeniser. The network's only input is ``tokens``. Shorter texts end with -1.

    Parameters
    ----------
    model
        Content of the file of the SentencePiece model.
    max_tokens
        Largest number of tokens of a text, including those that mark its beginning and end.
    """

    kind = "sentencepiece"
    _FILE = "sentencepiece.model"

    def __init__(self, model: bytes, *, max_tokens: int) -> None:
        from sentencepiece import SentencePieceProcessor

        self._model = model
        self._max_tokens = max_tokens
        self._processor = SentencePieceProcessor(model_proto=model)

    def __call__(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the token arrays of texts, see `Tokens.__call__`."""
        most = self._max_tokens
        begin, end = self._processor.bos_id(), self._processor.eos_id()
        pieces = self._processor.encode([text[: most * _CHARACTERS_PER_TOKEN] for text in texts], num_threads=1)
        rows = [[begin, *ids[: most - 2], end] for ids in pieces]
        tokens = np.full((len(rows), max(map(len, rows))), _PADDING, dtype=np.int64)
        for row, ids in zip(tokens, rows, strict=True):
            row[: len(ids)] = ids
        return {"tokens": tokens}

    def settings(self) -> dict[str, Any]:
        """Return the settings of the tokeniser, see `Tokens.settings`."""
        return {"max_tokens": self._max_tokens}

    def save(self, directory: Path) -> None:
        """Write the SentencePiece model into `directory`, see `Tokens.save`."""
        (directory / self._FILE).write_bytes(self._model)

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any]) -> PieceTokens:
        """Read the tokeniser that `save` has written into `directory`."""
        return cls((directory / cls._FILE).read_bytes(), **settings)


class WordTokens(Tokens):
    """A tokeniser of the library ``tokenizers``. The network's inputs are ``input_ids`` and ``attention_mask``.

    Parameters
    ----------
    tokenizer
        The library's tokeniser. Its settings for truncation and padding are replaced.
    max_tokens
        Largest number of tokens of a text, including those that mark its beginning and end.
    padding
        Token for padding.
    prefix
        Characters before each text, for example ``"query: "``.
    config
        Content of ``tokenizer_config.json``, from which transformers makes the same tokeniser.
    """

    kind = "tokenizers"
    _FILE = "tokenizer.json"
    _CONFIG = "tokenizer_config.json"

    def __init__(
        self, tokenizer: Tokenizer, *, max_tokens: int, padding: str, prefix: str = "", config: Mapping[str, Any] = {}
    ) -> None:
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._padding = padding
        self._prefix = prefix
        self._config = config
        tokenizer.enable_truncation(max_tokens)
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id(padding) or 0, pad_token=padding)

    def __call__(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the token arrays of texts, see `Tokens.__call__`."""
        most = self._max_tokens * _CHARACTERS_PER_TOKEN
        rows = self._tokenizer.encode_batch_fast([self._prefix + text[:most] for text in texts])
        return {
            "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
            "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
        }

    def settings(self) -> dict[str, Any]:
        """Return the settings of the tokeniser, see `Tokens.settings`."""
        return {"max_tokens": self._max_tokens, "padding": self._padding, "prefix": self._prefix}

    def save(self, directory: Path) -> None:
        """Write the vocabulary into `directory`, see `Tokens.save`."""
        from tokenizers import Tokenizer

        plain = Tokenizer.from_str(self._tokenizer.to_str())
        plain.no_truncation()
        plain.no_padding()
        plain.save(str(directory / self._FILE))
        text = json.dumps({**self._config, "model_max_length": self._max_tokens}, indent=2)
        (directory / self._CONFIG).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, settings: Mapping[str, Any]) -> WordTokens:
        """Read the tokeniser that `save` has written into `directory`."""
        from tokenizers import Tokenizer

        config = json.loads((directory / cls._CONFIG).read_text(encoding="utf-8"))
        return cls(Tokenizer.from_file(str(directory / cls._FILE)), config=config, **settings)


def load_tokens(directory: Path, kind: str, settings: Mapping[str, Any]) -> Tokens:
    """Read the tokeniser that `Tokens.save` has written into `directory`.

    Parameters
    ----------
    directory
        Directory of the network.
    kind, settings
        ``kind`` and ``settings()`` of the tokeniser.
    """
    kinds: dict[str, type[PieceTokens] | type[WordTokens]] = {
        PieceTokens.kind: PieceTokens,
        WordTokens.kind: WordTokens,
    }
    return kinds[kind].load(directory, settings)
