"""Downloads from a hub, by a server on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
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


COMMIT = "0" * 40
FILES_OF_HUB = f"/owner/network/resolve/{COMMIT}/"


class Hub(SimpleHTTPRequestHandler):
    """The requests of the hub's client. Its files have their name as ETag."""

    def do_GET(self) -> None:
        answers = {
            "/api/models/owner/network/revision/main": {"id": "owner/network", "sha": COMMIT},
            f"/api/models/owner/network/tree/{COMMIT}": [
                {"type": "file", "path": file, "size": 2, "oid": file} for file in FILES
            ],
        }
        path = self.path.partition("?")[0]
        if path in answers:
            self._answer(json.dumps(answers[path]).encode())
        elif path.startswith(FILES_OF_HUB):
            self._answer(b"{}", etag=path.removeprefix(FILES_OF_HUB))
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET

    def _answer(self, body: bytes, etag: str = "") -> None:
        self.send_response(200)
        headers = {"X-Repo-Commit": COMMIT, "ETag": etag, "Content-Length": str(len(body))}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A hub that has the network ``owner/network``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    yield server
    server.shutdown()
    server.server_close()


def test_a_network_is_downloaded_once_without_what_nobody_reads(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    target = download("owner/network", tmp_path / "weights")
    files = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert files == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    hub.shutdown()
    hub.server_close()
    assert download("owner/network", tmp_path / "weights") == target
    assert download("owner/network", tmp_path / "from the cache").is_dir()


@pytest.mark.usefixtures("hub")
def test_a_network_that_the_hub_does_not_have_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotOnHub, match="RepositoryNotFoundError for 'owner/other'"):
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
