"""The inputs of exported networks: cells become the same arrays that AutoMM makes of them. Nothing here imports torch.

The code follows AutoMM's processors (``autogluon/multimodal/data/process_*.py`` in version 1.6.3). Training compares
the answers of the exported network with those of AutoMM, so a difference would be noticed.
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
    """The cells of one modality that one network of a fine-tuned predictor reads.

    ``network`` is AutoMM's name of the network. ``columns`` are in the order in which the network reads them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str
    columns: tuple[str, ...]

    def name(self, suffix: str) -> str:
        """Return the name that AutoMM gives to an array of this network."""
        return f"{self.network}_{suffix}"

    @property
    @abstractmethod
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """The names of the dimensions without a fixed size, for each array. See `engines.export_onnx`."""

    @abstractmethod
    def reader(self, directory: Path) -> Reader:
        """Return a function that turns a table into arrays. `directory` holds the predictor and its tokenisers."""


class TextInput(_Input):
    """Texts of a row as one sequence of tokens.

    It has the token ``first``, then each column's tokens followed by ``separator``, then ``last``. ``first`` is None
    for networks without such a token. A second array has a number for each token's column, from 0 to ``segments`` - 1,
    after which it begins at 0 again. If a row has more than ``max_tokens``, its longest columns are cut.
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
        """The dimensions of the arrays of tokens that have no fixed size, see `_Input.axes`."""
        tokens = {0: "rows", 1: f"{self.network} tokens"}
        return {
            self.name("text_token_ids"): tokens,
            self.name("text_segment_ids"): tokens,
            self.name("text_valid_length"): {0: "rows"},
        }

    def reader(self, directory: Path) -> Reader:
        """Return a function that turns texts into arrays of tokens, see `_Input.reader`."""
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
        """Return the tokens of a row, and the number of the column that each token is from.

        `parts` are the columns' tokens.
        """
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
    """Return lengths whose sum is at most `most`. The longest ones are shortened, and only as far as necessary."""
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
    """Images as arrays of pixels. A cell is an encoded image, a list of encoded images, or None.

    Images become squares of ``side`` pixels. If ``crops`` is true, the ends of the longer side are cut off, otherwise
    the image is squeezed. At most ``most`` images of a cell are read. ``mean`` and ``std`` normalise colours between 0
    and 1.
    """

    kind: Literal["image"] = "image"
    side: int
    crops: bool
    most: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """The dimensions of the arrays of pixels that have no fixed size, see `_Input.axes`."""
        return {
            self.name("image"): {0: "rows", 1: f"{self.network} images"},
            self.name("image_valid_num"): {0: "rows"},
        }

    def reader(self, directory: Path) -> Reader:
        """Return a function that turns images into arrays of pixels, see `_Input.reader`."""
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
    """Numbers. A missing number is replaced by the one of its column in ``fill``. Then all numbers are standardised."""

    kind: Literal["num"] = "num"
    fill: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """The dimensions of the array of numbers that have no fixed size, see `_Input.axes`."""
        return {self.name("numerical"): {0: "rows"}}

    def reader(self, directory: Path) -> Reader:
        """Return a function that turns columns of numbers into an array, see `_Input.reader`."""
        return self._read

    def _read(self, table: pd.DataFrame) -> Arrays:
        values = table[list(self.columns)].to_numpy(dtype=np.float64)
        filled = np.where(np.isnan(values), self.fill, values)
        return {self.name("numerical"): ((filled - self.mean) / self.scale).astype(np.float32)}


class CategoryInput(_Input):
    """Categories as numbers. Each known value in ``values`` has its position as number.

    All other values get the next number.
    """

    kind: Literal["cat"] = "cat"
    values: tuple[tuple[str, ...], ...]

    @property
    def axes(self) -> Mapping[str, Mapping[int, str]]:
        """The dimensions of the array of categories that have no fixed size, see `_Input.axes`."""
        return {self.name("categorical"): {0: "rows"}}

    def reader(self, directory: Path) -> Reader:
        """Return a function that turns categories into an array of their numbers, see `_Input.reader`."""
        return partial(self._read, [{value: code for code, value in enumerate(values)} for values in self.values])

    def _read(self, codes: Sequence[Mapping[str, int]], table: pd.DataFrame) -> Arrays:
        columns = [
            [known.get(cell, len(known)) for cell in table[column]]
            for column, known in zip(self.columns, codes, strict=True)
        ]
        return {self.name("categorical"): np.array(columns, dtype=np.int64).T}


NetworkInput = Annotated[TextInput | PictureInput | NumberInput | CategoryInput, Field(discriminator="kind")]
"""The cells of one modality that one network reads."""
