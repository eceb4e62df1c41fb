"""Turns the image cells of a table into base64 of small JPEGs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pybase64

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.image_text import names_a_file
from multimodal_algo.ingest.images import ImageFiles, SeveralImages, encoded_images, shrink_image
from multimodal_algo.tools.prepare.rows import InputRow


@dataclass(frozen=True)
class ImageRules:
    """How images are found and how they are written into a file.

    Parameters
    ----------
    folder
        Folder of the image files that cells may name.
    side
        Largest length of the short side in pixels. Smaller images keep their size. With the default of 292, the image
        network of most recipes loses nothing, because it shrinks images to this side first.
    quality
        Quality of the JPEGs, 1 to 100.
    empty_bad
        Whether a cell is left empty if its image is missing or cannot be read. Otherwise that is an error.
    """

    folder: Path | None = None
    side: int = 292
    quality: int = 90
    empty_bad: bool = False


@dataclass(frozen=True)
class WrittenRow:
    """A row that is ready to be written, with its images as base64.

    Parameters
    ----------
    cells
        Cells in the order of the columns.
    images
        Number of images in the row.
    emptied
        Places of the image cells that were left empty because of a bad image, with the reasons.
    done
        How much of the input is read after this row, see `InputRow`.
    """

    cells: list[str]
    images: int
    emptied: list[str]
    done: int


class ImageCells:
    """Converts the image cells of rows to base64 of small JPEGs.

    Parameters
    ----------
    columns
        Columns of the rows.
    rules
        How images are found and written. None copies image cells unchanged.
    training
        Whether the rows are for training, where a cell may also be the name of a file.
    """

    def __init__(self, columns: Sequence[str], rules: ImageRules | None, training: bool) -> None:
        self._columns = columns
        self._is_image = [modality_of(column) is Modality.IMAGE for column in columns]
        self._rules = rules
        self.training = training
        self._files = ImageFiles(rules.folder) if rules is not None and rules.folder is not None else None

    def write(self, row: InputRow) -> WrittenRow:
        """Return a row with its image cells converted.

        Raises
        ------
        UserError
            An image is missing or cannot be read, and the rules do not allow to leave its cell empty.
        """
        cells: list[str] = []
        emptied: list[str] = []
        images = 0
        for column, is_image, cell in zip(self._columns, self._is_image, row.cells, strict=True):
            if not is_image:
                cells.append(_base64(cell) if isinstance(cell, bytes) else cell)
                continue
            try:
                encoded = list(self._encoded(cell))
            except ValueError as error:
                where = f"{row.where}, column {column}: {error}"
                if self._rules is None or not self._rules.empty_bad:
                    raise UserError(f"{where}. {self._remedy(cell)}") from None
                emptied.append(where)
                encoded = []
            images += len(encoded) if self._rules is not None else 0
            cells.append(";".join(encoded))
        return WrittenRow(cells, images, emptied, row.done)

    def _encoded(self, cell: str | bytes | SeveralImages | Path) -> Iterator[str]:
        if self._lacks_folder(cell):
            raise ValueError(f"'{str(cell)[:60]}' names a file, and its folder is not given")
        if self._rules is None:
            for image in cell.images if isinstance(cell, SeveralImages) else [cell]:
                yield _base64(image) if isinstance(image, bytes) else str(image)
            return
        for data in _of_file(cell) if isinstance(cell, Path) else encoded_images(cell, self._files):
            yield _base64(shrink_image(data, self._rules.side, self._rules.quality))

    def _lacks_folder(self, cell: str | bytes | SeveralImages | Path) -> bool:
        """Return whether a cell names an image file although no folder of image files is given."""
        if self._files is not None or (self._rules is None and self.training):
            return False
        images = cell.images if isinstance(cell, SeveralImages) else [cell]
        return any(isinstance(image, str) and names_a_file(image) for image in images)

    def _remedy(self, cell: str | bytes | SeveralImages | Path) -> str:
        if self._lacks_folder(cell):
            return "Give the folder as --images."
        return "Correct it, or leave such cells empty with --on-bad-image empty."


def _of_file(path: Path) -> Iterator[bytes]:
    try:
        yield path.read_bytes()
    except OSError as error:
        raise ValueError(f"the file cannot be read ({error.strerror})") from None


def _base64(data: bytes) -> str:
    return pybase64.b64encode(data).decode("ascii")
