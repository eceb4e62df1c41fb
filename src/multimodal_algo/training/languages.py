"""The languages of text columns: which networks know them, and what the log and the report say about them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.schema import Modality, modality_of
from multimodal_algo.ingest.channel_files import find_files
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.sources import Source, TableFormat, read_rows
from multimodal_algo.ingest.text_language import language_of, shows_language
from multimodal_algo.networks.texts.library import E5, EMBEDDED

_LOG = logging.getLogger(__name__)

_MOST_TEXTS = 500
_SAMPLED_ROWS = 1000
# A language with a smaller share is a mistake of the identifier more often than not.
_LEAST_SHARE = 0.05
_LEAST_TEXTS = 10
# Names of people and titles look like many languages at once.
_LEAST_WARNED = 0.2
_REMEDY = f"text_backbone={E5}"


def suited_networks(networks: Sequence[str], languages: Set[str]) -> tuple[str, ...]:
    """Return `networks`, in which multilingual-e5-small replaces each network that does not know all `languages`.

    Parameters
    ----------
    networks
        Names of text networks, see `EMBEDDED`.
    languages
        Codes of languages, see `languages_in`.
    """
    suited = [name for name in networks if languages <= set(EMBEDDED[name].languages.split())]
    return tuple(networks) if len(suited) == len(networks) else tuple(dict.fromkeys((*suited, E5)))


def languages_in(location: Path, table: TableFormat) -> Set[str]:
    """Return the languages of the text columns at `location`. At least 20 % of a column's texts must be in a language.

    Only the first 1,000 rows are read. The result is empty for a FIFO, which can be read only once, and if no language
    can be recognised.

    Parameters
    ----------
    location
        Path of the channel, see `find_sources`.
    table
        Separator and names of the columns.
    """
    try:
        rows = _first_rows(location, table)
        header = next(rows, [])
        columns = [number for number, name in enumerate(header) if modality_of(str(name)) is Modality.TEXT]
        sample = list(islice(rows, _SAMPLED_ROWS)) if columns else []  # rows with images are large
    except UserError:
        return set()  # the reading of all rows reports it
    languages: set[str] = set()
    for number in columns:
        texts = dict.fromkeys(row[number] for row in sample if number < len(row) and isinstance(row[number], str))
        shares = languages_of(list(texts))
        languages |= {language for language, share in shares.items() if share >= _LEAST_WARNED}
    return languages


def _first_rows(location: Path, table: TableFormat) -> Iterator[list[Any]]:
    """Yield the header and the rows of the first file at `location`.

    Yield nothing for a FIFO, which is read only once.
    """
    if location.is_file():
        paths = [location]
    elif location.is_dir():
        paths = [location / name for name in find_files(location).tables[:1]]
    else:
        return
    for path in paths:
        source = Source(path, path.name, table=table)
        yield from (row.fields for row in read_rows(source, reports_broken=True))


def describe_languages(dataset: Dataset, known: frozenset[str] | None) -> tuple[str, ...]:
    """Log the languages of each text column, and return the same sentences for the report.

    Parameters
    ----------
    dataset
        The training rows.
    known
        Languages that the text networks know, see `TextInfo`. None if the networks do not list them.
    """
    sentences = []
    for column in dataset.schema.of(Modality.TEXT):
        shares = languages_of(list(dict.fromkeys(dataset.features.cells[column])))
        if not shares:
            continue
        sentence = f"{column}: languages {', '.join(f'{name} {share:.0%}' for name, share in shares.items())}."
        _LOG.info("%s", sentence)
        sentences.append(sentence)
        if known is not None and (
            unknown := [name for name in shares if name not in known and shares[name] >= _LEAST_WARNED]
        ):
            share = sum(shares[name] for name in unknown)
            warning = (
                f"{column}: the text networks do not know the language of {share:.0%} of the texts "
                f"({', '.join(unknown)}). Set {_REMEDY}."
            )
            _LOG.warning("%s", warning)
            sentences.append(warning)
    return tuple(sentences)


def languages_of(texts: Sequence[str] | np.ndarray) -> Mapping[str, float]:
    """Return the share of each language that at least 5 % of the texts are in, the most frequent first.

    The result is empty if fewer than 10 texts are long enough to recognise their language. At most 500 texts are read.
    """
    long = [text for text in texts if text and shows_language(text)]
    if len(long) < _LEAST_TEXTS:
        return {}
    chosen = [long[row] for row in np.linspace(0, len(long) - 1, min(len(long), _MOST_TEXTS)).astype(int)]
    counts = Counter(map(language_of, chosen))
    shares = {name: count / len(chosen) for name, count in counts.most_common() if name}
    return {name: share for name, share in shares.items() if share >= _LEAST_SHARE}
