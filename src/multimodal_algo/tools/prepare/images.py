"""Image cells to base64 of small JPEGs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pybase64

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.images import ImageFiles, encoded_images, names_a_file, shrink_image
from multimodal_algo.tools.prepare.rows import InputRow


@dataclass(frozen=True)
class ImageRules:
    """What becomes of images.

    Parameters
    ----------
    folder
        Of the files that cells may name.
    side
        Most pixels of the short side; smaller images keep their size. 256 is what networks' crops of 224 are cut from.
    quality
        Of JPEGs, 1 to 100.
    empty_bad
        Whether a cell becomes empty whose image is missing or cannot be read; else it is an error.
    """

    folder: Path | None = None
    side: int = 256
    quality: int = 90
    empty_bad: bool = False


@dataclass(frozen=True)
class WrittenRow:
    """A row that can be written.

    Parameters
    ----------
    cells
        In the order of the columns.
    images
        How many were made.
    emptied
        Where image cells were left empty, and why.
    done
        See `InputRow`.
    """

    cells: list[str]
    images: int
    emptied: list[str]
    done: int


class ImageCells:
    """Writes the cells of rows.

    Parameters
    ----------
    columns
        Of the rows.
    rules
        What becomes of images; their cells are copied without it.
    training
        Whether the cells are for training, where they may name files too.
    """

    def __init__(self, columns: Sequence[str], rules: ImageRules | None, training: bool) -> None:
        self._columns = columns
        self._is_image = [modality_of(column) is Modality.IMAGE for column in columns]
        self._rules = rules
        self._training = training
        self._files = ImageFiles(rules.folder) if rules is not None and rules.folder is not None else None

    def write(self, row: InputRow) -> WrittenRow:
        """The row as it is written.

        Raises
        ------
        UserError
            An image that is missing or cannot be read, unless such cells become empty.
        """
        cells: list[str] = []
        emptied: list[str] = []
        images = 0
        for column, is_image, cell in zip(self._columns, self._is_image, row.cells, strict=True):
            if not is_image:
                cells.append(_base64(cell) if isinstance(cell, bytes) else cell)
                continue
            try:
                made = list(self._made(cell))
            except ValueError as error:
                where = f"{row.where}, column {column}: {error}"
                if self._rules is None or not self._rules.empty_bad:
                    raise UserError(f"{where}. {self._remedy(cell)}") from None
                emptied.append(where)
                made = []
            images += len(made) if self._rules is not None else 0
            cells.append(";".join(made))
        return WrittenRow(cells, images, emptied, row.done)

    def _made(self, cell: str | bytes | Path) -> Iterator[str]:
        if self._names_nothing(cell):
            raise ValueError(f"'{str(cell)[:80]}' names a file, and its folder is not given")
        if self._rules is None:
            yield _base64(cell) if isinstance(cell, bytes) else str(cell)
            return
        for data in _of_file(cell) if isinstance(cell, Path) else encoded_images(cell, self._files):
            yield _base64(shrink_image(data, self._rules.side, self._rules.quality))

    def _names_nothing(self, cell: str | bytes | Path) -> bool:
        """Whether a cell names a file where none can be looked up."""
        if self._files is not None or (self._rules is None and self._training):
            return False
        return isinstance(cell, str) and names_a_file(cell)

    def _remedy(self, cell: str | bytes | Path) -> str:
        if self._names_nothing(cell):
            return "Give the folder as --images."
        return "Put it right, or leave such cells empty with --on-bad-image empty."


def _of_file(path: Path) -> Iterator[bytes]:
    try:
        yield path.read_bytes()
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None


def _base64(data: bytes) -> str:
    return pybase64.b64encode(data).decode("ascii")
