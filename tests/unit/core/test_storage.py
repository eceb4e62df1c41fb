from __future__ import annotations

from pathlib import Path

import pytest

from multimodal_algo.core.errors import UserError
from multimodal_algo.core.storage import is_s3, local_data, local_file, local_path, output_folder


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("a/b.csv", "a/b.csv"),
        (Path("a/b.csv"), "a/b.csv"),
        ("file:///a/b.csv", "/a/b.csv"),
        ("file://a/b.csv", "a/b.csv"),
        ("file:///a/b%20c%23.csv", "/a/b c#.csv"),
        ("/a/b%20c.csv", "/a/b%20c.csv"),
    ],
)
def test_a_path_and_its_uri_name_the_same_file(location: str | Path, path: str, tmp_path: Path) -> None:
    assert not is_s3(location)
    assert local_path(location) == local_data(location, tmp_path) == local_file(location, tmp_path) == Path(path)


def test_a_folder_on_this_machine_is_the_output_itself(tmp_path: Path) -> None:
    with output_folder(tmp_path / "deep/out", tmp_path / "unused") as folder:
        assert folder == tmp_path / "deep/out"
        assert folder.is_dir()
    assert not (tmp_path / "unused").exists()


def test_a_failure_comes_through_the_output_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="why"), output_folder(f"file://{tmp_path}/out", tmp_path):
        raise UserError("why")
