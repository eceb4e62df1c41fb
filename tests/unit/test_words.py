"""The code and the documentation use one word for each concept, and the English of `docs/glossary.md`.

Some of the words that are not used are also plain English, so each entry is a pattern: for a name, or for a phrase.
Names of the public interface stay as they are, see `PUBLIC`.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import multimodal_algo

PACKAGE = Path(multimodal_algo.__file__).parent
ROOT = Path(__file__).parents[2]
MODULES = sorted(PACKAGE.rglob("*.py"))
PAGES = sorted([*PACKAGE.rglob("*.md"), *PACKAGE.rglob("*.html"), *(ROOT / "docs").rglob("*.md")])

REPORT = "report, message, log, return, answer, scores, predictions"
PREDICTOR = "predictor, BranchPredictor, FineTunedPredictor, LoadedModel"
CHECKPOINTS = "checkpoints, CheckpointStore, ScopedCheckpoints"
EXECUTION = "execution protocol, Parallelism, WorkResult"
SELECTION = "selection, Selector, HeldOutResults"
VOTE = "has a vote, has no vote"

# Parts of names: `_told`, `told_by` and `ToldBy` have the part "told".
NAME_PARTS = {
    "told": REPORT,
    "tell": REPORT,
    "tells": REPORT,
    "said": REPORT,
    "head": PREDICTOR,
    "heads": PREDICTOR,
    "tuned": "fine_tuned",
    "earlier": "previous",
    "keeper": CHECKPOINTS,
    "keeping": CHECKPOINTS,
    "judge": SELECTION,
    "judged": SELECTION,
    "judging": SELECTION,
    "usual": "prior (of an answer), default (of a setting)",
    "copies": "duplicate rows",
    "speaks": VOTE,
    "silent": VOTE,
    "heard": VOTE,
}
# Whole names of variables, parameters, attributes, functions, classes and modules.
NAMES = {
    "Below": CHECKPOINTS,
    "Done": EXECUTION,
    "Spread": EXECUTION,
    "keep": CHECKPOINTS,
    "keeps": CHECKPOINTS,
    "wide": "linear model",
    "direct": "fast predict",
}
# Variables and parameters. Properties and functions may have these names.
VARIABLES = {
    "places": "rows, indices",
    "found": "the noun itself",
    "some": "the noun itself",
    "others": "the noun itself",
}
PHRASES = {
    r"told|tells?|telling|said": REPORT,
    r"(?<!['\"<>/])heads?": PREDICTOR,
    # Hyperparameters are tuned, networks are not.
    r"(?<!be )tuned": "fine-tuned",
    r"earlier (models?|artifacts?|jobs?|starts?|networks?|branch(es)?|class(es)?|runs?|rows?|one)": "previous",
    r"(model|artifact|job|network) that is earlier": "previous",
    r"keepers?": CHECKPOINTS,
    r"judges?|judged|judging": SELECTION,
    r"cop(ies|y) of (a |the |one |training )?rows?": "duplicate rows",
    r"rows? and (its|their) copies|copies of each other": "duplicate rows",
    r"what is usual": "prior",
    r"wide (models?|branch(es)?|predictors?|classifiers?|encodings?)": "linear model, linear features",
    r"direct (path|prediction|predict|model|encoding|way)s?": "fast predict",
    r"speaks?|silent|heard": VOTE,
    r"(?<![.`])speaking": VOTE,
    r"(?<!there )is no (?!longer\b|more than\b|later than\b|larger than\b|less than\b)": "is not a",
    r"(is|are) (?-i:none)": "does not exist, is not one of",
    r"beside": "next to",
    r"so often|so many times": "the number's name",
    r", else": "otherwise",
}
# Words that mean something else in a folder or a module.
ALLOWED = {
    ("execution", "head"),  # Ray's word for its first node
    ("storage", "copies"),  # of files
}
# Names of branches in metrics.json and in artifacts, and the word that takes the place of "tuned".
PUBLIC = re.compile(r"(?<![a-z])((text|image)_tuned|fine[-_ ]?tuned)(?![a-z])", re.IGNORECASE)
PATTERNS = [(re.compile(rf"\b(?:{phrase})\b", re.IGNORECASE), instead) for phrase, instead in PHRASES.items()]
# A docstring begins with a verb or with the noun for what it describes.
FRAGMENT = re.compile(r"(Of|What|By|Whose)\b")


class Hit(NamedTuple):
    """A word that is not used here, and what is used instead."""

    path: Path
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: '{self.word}', instead: {self.instead}"


def prose_of(source: str) -> Iterator[tuple[int, str]]:
    """Lines of the comments and strings of a module, with their numbers."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield from enumerate(token.string.splitlines(), token.start[0])


def is_allowed(path: Path, word: str) -> bool:
    return bool({(path.parent.name, word.lower()), (path.stem, word.lower())} & ALLOWED)


def phrases_in(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[Hit]:
    for number, line in lines:
        checked = PUBLIC.sub("", line)
        for pattern, instead in PATTERNS:
            for match in pattern.finditer(checked):
                if not is_allowed(path, match.group()):
                    yield Hit(path, number, match.group(), instead)


def names_of(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Names that the module gives, with their lines, and whether each is a variable's or a parameter's."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name, False
            case ast.arg():
                yield node.lineno, node.arg, True
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id, True
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr, False


def parts_of(name: str) -> list[str]:
    """Words of a name: `fine_tuned` is one, as its second part alone means something else."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return PUBLIC.sub("", "_".join(parts).lower()).split("_")


def names_in(path: Path, tree: ast.Module) -> Iterator[Hit]:
    for number, name, is_variable in [(1, path.stem, False), *names_of(tree)]:
        whole = NAMES | VARIABLES if is_variable else NAMES
        if instead := whole.get(name.lstrip("_")):
            yield Hit(path, number, name, instead)
        for part in parts_of(name):
            if part in NAME_PARTS and not is_allowed(path, part):
                yield Hit(path, number, name, NAME_PARTS[part])


def fragments_in(path: Path, tree: ast.Module) -> Iterator[Hit]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            begin = FRAGMENT.match(ast.get_docstring(node) or "")
            if begin:
                number = getattr(node, "lineno", 1)
                yield Hit(path, number, begin.group(), "a verb, or a noun phrase that names the thing")


def hits_of_module(path: Path) -> list[Hit]:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    return sorted([*names_in(path, tree), *phrases_in(path, prose_of(source)), *fragments_in(path, tree)])


def hits_of_page(path: Path) -> list[Hit]:
    return list(phrases_in(path, enumerate(path.read_text(encoding="utf-8").splitlines(), 1)))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_uses_the_words_of_the_project(path: Path) -> None:
    hits = hits_of_module(path)
    assert not hits, "\n" + "\n".join(map(str, hits))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_uses_the_words_of_the_project(path: Path) -> None:
    hits = hits_of_page(path)
    assert not hits, "\n" + "\n".join(map(str, hits))


@pytest.mark.parametrize(
    "text",
    [
        "The header has no overhead.",
        "There is no file 'a.pth'. The answer is None.",
        "The hyperparameter cannot be tuned.",
        "A fine-tuned network; the branch text_tuned; networks that are fine tuned.",
        "The previous model answers earlier than 5 s.",
        "Copies of the file, and a workload.",
    ],
)
def test_plain_english_passes(text: str) -> None:
    assert not list(phrases_in(PACKAGE, iter([(1, text)])))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("What the log has told.", "told"),
        ("The head of a branch.", "head"),
        ("Tuned networks.", "Tuned"),
        ("The earlier model's classes.", "earlier model"),
        ("A label that is no number.", "is no "),
        ("A file beside it.", "beside"),
        ("A number, else None.", ", else"),
    ],
)
def test_a_word_that_is_not_used_is_found_with_its_line(text: str, word: str) -> None:
    assert [(hit.line, hit.word) for hit in phrases_in(PACKAGE, iter([(7, text)]))] == [(7, word)]


def test_a_name_is_found_by_its_parts() -> None:
    code = "class TunedHead: ...\ndef found(_told, fine_tuned, header): ahead = tuned_text = keep = kept = some = 1"
    expected = {"TunedHead", "_told", "tuned_text", "keep", "some"}
    assert {hit.word for hit in names_in(PACKAGE, ast.parse(code))} == expected
