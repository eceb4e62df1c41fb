"""Numbers and texts as the report shows them."""

from __future__ import annotations


def number(value: float) -> str:
    """Format a number with four significant digits. Digits before the decimal point are all shown."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def percent(share: float, digits: int = 0) -> str:
    """Format a share as a percentage with `digits` digits after the point."""
    return f"{100 * share:.{digits}f} %"


def shortened(text: str, most: int = 80) -> str:
    """Return a text with at most `most` characters. A longer text is cut, and its last character is an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"
