"""The languages of text columns, for the log and the report, and a warning where the networks do not know them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from multimodal_algo.core.schema import Modality
from multimodal_algo.ingest.dataset import Dataset

_LOG = logging.getLogger(__name__)

_MOST_TEXTS = 500
# Shorter texts, such as names, do not show their language. Scripts of syllables and of words need fewer letters.
_FEWEST_LETTERS, _FEWEST_WIDE = 30, 10
_CHARACTERS = 400
# A language with a smaller share is a mistake of the identifier more often than not.
_LEAST_SHARE = 0.05
_LEAST_TEXTS = 10
_LEAST_CONFIDENCE = 0.8
# Names of people and titles look like many languages at once.
_LEAST_WARNED = 0.2
# Varieties that the identifier distinguishes and networks do not. zxx is a text in no language, und an unsure answer.
_VARIETIES = {
    "ary": "ar", "arz": "ar", "grc": "el", "hbo": "he", "nb": "no", "nn": "no", "sdh": "ku", "uzs": "uz", "wuu": "zh",
    "yue": "zh", "zxx": "", "und": "",
}  # fmt: skip
_REMEDY = "text_backbone=multilingual-e5-small"


def describe_languages(dataset: Dataset, known: frozenset[str] | None) -> tuple[str, ...]:
    """Log the languages of the text columns, and return sentences about them for the report.

    Parameters
    ----------
    dataset
        The training rows.
    known
        Languages that the text networks know, see `TextInfo`. None if they are not known.
    """
    sentences = []
    for column in dataset.schema.of(Modality.TEXT):
        shares = languages_of(dataset.features.table[column].unique())
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
    """Return the share of each language with at least 5 % of the texts, most frequent first.

    It is empty where fewer than 10 texts are long enough to show their language. At most 500 texts are read.
    """
    long = [text for text in texts if text and _is_long(text)]
    if len(long) < _LEAST_TEXTS:
        return {}
    chosen = [long[row] for row in np.linspace(0, len(long) - 1, min(len(long), _MOST_TEXTS)).astype(int)]
    identifier = _identifier()
    names = [identifier.classify(text[:_CHARACTERS])[0] for text in chosen]
    counts = Counter(_VARIETIES.get(name, name) for name in names)
    shares = {name: count / len(chosen) for name, count in counts.most_common() if name}
    return {name: share for name, share in shares.items() if share >= _LEAST_SHARE}


def _is_long(text: str) -> bool:
    letters = [character for character in text[:_CHARACTERS] if character.isalpha()]
    return len(letters) >= _FEWEST_LETTERS or sum(character >= "\u0900" for character in letters) >= _FEWEST_WIDE


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.min_confidence = _LEAST_CONFIDENCE
    return identifier
