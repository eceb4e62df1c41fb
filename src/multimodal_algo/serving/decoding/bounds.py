"""Upper limits of the memory that a body's rows will take. They are computed before the rows are made."""

from __future__ import annotations

# Bytes of a row with its record, prediction and answer, and of a cell without its text, as measured.
_ROW_BYTES, _CELL_BYTES = 1000, 100
# A text takes up to this number of bytes for each of its bytes in UTF-8: one rare character makes all of them wide.
_TEXT_FACTOR = 4


class BodyTooLarge(Exception):
    """Error: a request body, or the rows in it, would take too much memory.

    The message is a sentence for the client.
    """


def row_bytes(rows: int, cells: int) -> int:
    """Return the bytes of memory that rows and cells take, without the texts in the cells."""
    return rows * _ROW_BYTES + cells * _CELL_BYTES


def csv_bytes(body: bytes) -> int:
    """Return an upper limit of the bytes of memory that the rows of a CSV body take."""
    rows = body.count(b"\n") + body.count(b"\r") + 1
    return row_bytes(rows, rows + body.count(b",")) + _text_bytes(body)


def json_bytes(body: bytes) -> int:
    """Return an upper limit of the bytes of memory that the rows of a JSON body take.

    Rows are objects, lists or lines.
    """
    rows = body.count(b"{") + body.count(b"[") + body.count(b"\n") + 1
    return row_bytes(rows, rows + body.count(b",")) + _text_bytes(body)


def _text_bytes(body: bytes) -> int:
    # The text of the whole body, and the texts of its cells.
    return 2 * len(body) * (1 if body.isascii() and b"\\u" not in body else _TEXT_FACTOR)


def require_room(size: int, most_bytes: int) -> None:
    """Raise an error if rows take too much memory.

    Raises
    ------
    BodyTooLarge
        The rows take more than `most_bytes`.
    """
    if size > most_bytes:
        raise BodyTooLarge(
            f"The rows of the body may take {_mb(size)} in memory, and {_mb(most_bytes)} are free for them. Send fewer "
            "rows at a time."
        )


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
