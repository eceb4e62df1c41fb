"""The inputs of exported fine-tuned networks: cells as the arrays that AutoMM makes of them. Nothing imports torch.

The sources are the processors of AutoMM 1.6.3, ``autogluon/multimodal/data/process_*.py``. Training compares the
answers of the exported network with those of AutoMM, so a difference is found there.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Arrays = dict[str, np.ndarray]
Reader = Callable[[pd.DataFrame], Arrays]
"""Returns arrays by the names of the graph's inputs. Each of them has as many rows as the table."""

TOKENIZER = "tokenizer.json"
# No network has a longer piece on average, so what is cut off lies beyond its last token.
_CHARACTERS_PER_TOKEN = 32


class _Input(BaseModel, ABC):
    """The cells that one network of a fine-tuned predictor reads of one modality.

    ``network`` is AutoMM's name of the network, and ``columns`` are in its order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    columns: tuple[str, ...]

    def name(self, suffix: str) -> str:
        """Return AutoMM's name of an array."""
        return f"{self.network}_{suffix}"

    @property
    @abstractmethod
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """The dimensions of each array whose size is not fixed, see `engines.export_onnx`."""

    @abstractmethod
    def reader(self, directory: Path) -> Reader:
        """Return the reader. `directory` holds the predictor, with its tokenisers."""


class TextInput(_Input):
    """Texts. All columns together become one sequence: ``first``, then tokens and ``separator`` of each, then ``last``.

    ``first`` is None for networks that have no such token. Columns are counted from 0 to ``segments`` - 1, again and
    again. Where the tokens are more than ``max_tokens``, the longest columns are cut.
    """

    kind: Literal["text"] = "text"
    max_tokens: int
    first: int | None
    separator: int | None
    last: int
    padding: int
    segments: int

    @property
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """See `_Input`."""
        tokens = {0: "rows", 1: f"{self.network} tokens"}
        return {
            self.name("text_token_ids"): tokens,
            self.name("text_segment_ids"): tokens,
            self.name("text_valid_length"): {0: "rows"},
        }

    def reader(self, directory: Path) -> Reader:
        """See `_Input`."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(directory / self.network / TOKENIZER))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return partial(self._read, tokenizer)

    def _read(self, tokenizer: Tokenizer, table: pd.DataFrame) -> Arrays:
        columns = [self._tokens(tokenizer, table[column]) for column in self.columns]
        rows = [self._sequence(parts) for parts in zip(*columns, strict=True)]
        lengths = np.array([len(ids) for ids, _ in rows], dtype=np.int64)
        ids = np.full((len(rows), int(lengths.max(initial=0))), self.padding, dtype=np.int64)
        segments = np.zeros_like(ids)
        for row, (tokens, numbers) in enumerate(rows):
            ids[row, : len(tokens)], segments[row, : len(tokens)] = tokens, numbers
        names = (self.name(suffix) for suffix in ("text_token_ids", "text_segment_ids", "text_valid_length"))
        return dict(zip(names, (ids, segments, lengths), strict=True))

    def _tokens(self, tokenizer: Tokenizer, cells: pd.Series) -> list[list[int]]:
        texts = ["" if pd.isna(cell) else str(cell)[: self.max_tokens * _CHARACTERS_PER_TOKEN] for cell in cells]
        return [entry.ids for entry in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _sequence(self, parts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
        """Return the tokens of a row, and the number of each token's column."""
        special = (self.first is not None) + (1 if self.separator is None else len(parts))
        kept = _trimmed([len(part) for part in parts], self.max_tokens - special)
        ids = [] if self.first is None else [self.first]
        segments: list[int] = []
        segment = 0
        for part, length in zip(parts, kept, strict=True):
            ids += [*part[:length], *([] if self.separator is None else [self.separator])]
            segments += [segment] * (len(ids) - len(segments))
            segment = (segment + 1) % self.segments
        if not ids or ids[-1] != self.last:
            ids.append(self.last)
            segments.append(segment)
        return ids, segments


def _trimmed(lengths: Sequence[int], most: int) -> list[int]:
    """Return lengths that are `most` together, by cutting the longest. They stay as they are where they fit."""
    if sum(lengths) <= most:
        return list(lengths)
    kept = [0] * len(lengths)
    while (rest := most - sum(kept)) > 0:
        growing = [number for number, length in enumerate(lengths) if kept[number] < length]
        step = min(min(lengths[number] - kept[number] for number in growing), rest // len(growing))
        for number in growing if step else growing[:rest]:
            kept[number] += step or 1
    return kept


class PictureInput(_Input):
    """Images. A cell is an encoded image, a list of them, or None.

    ``side`` is their width and height in pixels, and ``crops`` says whether what is not square is cut off, or squeezed.
    ``most`` is the number of images of a cell that are read. ``mean`` and ``std`` normalise channels between 0 and 1.
    """

    kind: Literal["image"] = "image"
    side: int
    crops: bool
    most: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """See `_Input`."""
        return {
            self.name("image"): {0: "rows", 1: f"{self.network} images"},
            self.name("image_valid_num"): {0: "rows"},
        }

    def reader(self, directory: Path) -> Reader:
        """See `_Input`."""
        return self._read

    def _read(self, table: pd.DataFrame) -> Arrays:
        cells = [[_listed(cell)[: self.most] for cell in table[column]] for column in self.columns]
        rows = [[self._pixels(data) for images in row for data in images] for row in zip(*cells, strict=True)]
        # AutoMM divides by at least 1e-6, which is 0 as a whole number.
        counts = np.array([len(pictures) for pictures in rows], dtype=np.float32)
        # AutoMM puts a black image, which it does not count, behind the others for each empty cell.
        most = max(sum(max(1, len(images)) for images in row) for row in zip(*cells, strict=True))
        pixels = np.zeros((len(rows), most, self.side, self.side, 3), dtype=np.uint8)
        for row, pictures in enumerate(rows):
            for number, picture in enumerate(pictures):
                pixels[row, number] = picture
        return {self.name("image"): pixels, self.name("image_valid_num"): counts}

    def _pixels(self, data: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(data)) as image:
            picture = image.convert("RGB")
        if not self.crops:
            return np.asarray(picture.resize((self.side, self.side), Image.Resampling.BICUBIC))
        width, height = picture.size
        short = min(width, height)
        size = (int(self.side * width / short), int(self.side * height / short))
        left, top = (round((length - self.side) / 2) for length in size)
        resized = picture.resize(size, Image.Resampling.BICUBIC)
        return np.asarray(resized.crop((left, top, left + self.side, top + self.side)))


def _listed(cell: bytes | list[bytes] | None) -> list[bytes]:
    return cell if isinstance(cell, list) else [cell] if cell else []


class NumberInput(_Input):
    """Numbers. A missing one is replaced by that of ``fill``, and then all are standardised."""

    kind: Literal["num"] = "num"
    fill: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """See `_Input`."""
        return {self.name("numerical"): {0: "rows"}}

    def reader(self, directory: Path) -> Reader:
        """See `_Input`."""
        return self._read

    def _read(self, table: pd.DataFrame) -> Arrays:
        values = table[list(self.columns)].to_numpy(dtype=np.float64)
        filled = np.where(np.isnan(values), self.fill, values)
        return {self.name("numerical"): ((filled - self.mean) / self.scale).astype(np.float32)}


class CategoryInput(_Input):
    """Categories. Each of ``values`` has a number. All other ones share the number after the last."""

    kind: Literal["cat"] = "cat"
    values: tuple[tuple[str, ...], ...]

    @property
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """See `_Input`."""
        return {self.name("categorical"): {0: "rows"}}

    def reader(self, directory: Path) -> Reader:
        """See `_Input`."""
        return partial(self._read, [{value: code for code, value in enumerate(values)} for values in self.values])

    def _read(self, codes: Sequence[Mapping[str, int]], table: pd.DataFrame) -> Arrays:
        columns = [
            [known.get(cell, len(known)) for cell in table[column]]
            for column, known in zip(self.columns, codes, strict=True)
        ]
        return {self.name("categorical"): np.array(columns, dtype=np.int64).T}


NetworkInput = Annotated[TextInput | PictureInput | NumberInput | CategoryInput, Field(discriminator="kind")]
"""The cells of one modality that one network reads."""
