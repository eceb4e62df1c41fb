"""text_backbone names one network or several, and what cannot be read is refused with what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.texts import library
from multimodal_algo.networks.texts.find import find_text_network, find_text_networks
from multimodal_algo.networks.texts.library import E5, EMBEDDED, MINILM, UNIVERSAL


@pytest.mark.parametrize(
    "names", [f"{UNIVERSAL},{E5}", f" {UNIVERSAL} , {E5} ,", f'["{UNIVERSAL}", "{E5}"]', f' ["{UNIVERSAL}","{E5}"] ']
)
def test_lists(names: str) -> None:
    assert find_text_networks(names) == [UNIVERSAL, E5]


def test_a_directory_with_numbered_folders_stands_for_their_networks(tmp_path: Path) -> None:
    for name in ("10", "2", "0", "other"):
        (tmp_path / "a, b" / name).mkdir(parents=True)
    folder = tmp_path / "a, b"
    assert find_text_networks(str(folder)) == [str(folder / name) for name in ("0", "2", "10")]


@pytest.mark.parametrize(("names", "problem"), [
    (" , ", "no network"), ("[]", "no network"), ("[1]", "not a JSON list"), ('["a"', "not a JSON list"),
    (f"{E5},{E5}", "twice"),
])  # fmt: skip
def test_lists_that_are_refused(names: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        find_text_networks(names)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"is not a directory, and not one of .*{MINILM}"):
        find_text_network("minilm")
    with pytest.raises(UserError, match=r"neither network\.json nor config\.json"):
        find_text_network(str(tmp_path))


def test_another_file_than_the_known_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "multimodal_fake").mkdir()
    (tmp_path / "multimodal_fake" / "__init__.py").touch()
    (tmp_path / "multimodal_fake" / "weights").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    entry = library.EmbeddedNetwork("fake 1.0", "multimodal_fake", {"weights": "0" * 64}, "en", EMBEDDED[E5].read)
    monkeypatch.setattr(library, "EMBEDDED", {"fake": entry, "absent": library.EmbeddedNetwork(
        "absent 1.0", "multimodal_absent", {}, "en", EMBEDDED[E5].read)})  # fmt: skip
    with pytest.raises(UserError, match=r"not the file of fake 1\.0"):
        library.read_embedded("fake")
    with pytest.raises(UserError, match=r"absent 1\.0, which is not installed"):
        library.read_embedded("absent")
