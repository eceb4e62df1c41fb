"""Downloads from a hub, by a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_networks import write_text_network

from multimodal_algo.cli import main
from multimodal_algo.core.errors import UserError
from multimodal_algo.networks.hub import NotOnHub, download, is_hub_id
from multimodal_algo.networks.library import find_image_network
from multimodal_algo.networks.text_backbone import TextBackbone
from multimodal_algo.networks.texts.find import find_text_network

FILES = ["config.json", "model.safetensors", "pytorch_model.bin", "README.md", "1_Pooling/config.json"]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a hub that has the network ``owner/network``."""
    root = tmp_path / "hub"
    for file in FILES:
        path = root / "owner/network/resolve/main" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (root / "api/models/owner").mkdir(parents=True)
    listing = {"siblings": [{"rfilename": file} for file in [*FILES, "../../outside.json"]]}
    (root / "api/models/owner/network").write_text(json.dumps(listing))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield root
    server.shutdown()
    server.server_close()


def test_a_network_is_downloaded_once_without_what_nobody_reads(hub: Path, tmp_path: Path) -> None:
    target = download("owner/network", tmp_path / "weights")
    files = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert files == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    (hub / "api/models/owner/network").unlink()
    assert download("owner/network", tmp_path / "weights") == target


@pytest.mark.usefixtures("hub")
def test_a_network_that_the_hub_does_not_have_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotOnHub, match="HTTPError for 'owner/other'"):
        download("owner/other", tmp_path / "weights")
    assert not list((tmp_path / "weights").rglob("*.partial"))


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"there is no directory 'owner/network'.*the hub does not give such a network"):
        find_image_network("owner/network", weights_dir=tmp_path, allow_untrained=False, seed=0)


@pytest.mark.usefixtures("hub")
def test_a_text_network_is_looked_for_in_the_weights_and_then_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="owner/network"):  # it is there, but the files are empty
        find_text_network("owner/network")
    with pytest.raises(
        UserError, match=r"text_backbone: there is no directory 'owner/none', and the hub does not give"
    ):
        find_text_network("owner/none")
    write_text_network(tmp_path / "weights/owner/none")
    baked = find_text_network("owner/none", tmp_path / "weights")
    assert TextBackbone(baked).encode(["red"]).shape == (1, 64)


@pytest.mark.usefixtures("hub")
def test_the_command_bakes_networks_under_their_ids(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["download-networks", "owner/network", "--output", str(tmp_path / "weights")])
    assert (done.exit_code, done.output) == (0, f"{tmp_path}/weights/owner/network\n")
    done = CliRunner().invoke(main, ["download-networks", "owner/none", "--output", str(tmp_path / "weights")])
    assert done.exit_code == 1
    assert done.output.startswith("Error: A network cannot be downloaded (")


@pytest.mark.parametrize(("name", "is_id"), [("a/b-c.d", True), ("a/b/c", False), ("../b", False), ("resnet50", False)])
def test_an_id_has_an_owner_and_a_name(name: str, is_id: bool) -> None:
    assert is_hub_id(name) == is_id
