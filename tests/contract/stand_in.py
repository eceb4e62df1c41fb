"""A stand-in algorithm for the simulator's own tests: ``serve`` echoes lines, and misbehaves as STAND_IN says."""

from __future__ import annotations

import json
import os
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

from answering import Answering

BEHAVIOUR = json.loads(os.environ.get("STAND_IN", "{}"))
SEEN: dict[bytes, int] = {}
BUSY = threading.Barrier(BEHAVIOUR["meet"]) if "meet" in BEHAVIOUR else None


class Handler(Answering):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/execution-parameters" and "parameters" in BEHAVIOUR:
            self.answer(200, json.dumps(BEHAVIOUR["parameters"]).encode())
        else:
            self.answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        body = self.body()
        SEEN[body] = SEEN.get(body, 0) + 1
        if SEEN[body] <= BEHAVIOUR.get("hang_first", 0):
            # Until the process is stopped.
            threading.Event().wait()
        if BUSY is not None:
            # Passes only when so many requests are under way at once.
            BUSY.wait(timeout=30)
        if SEEN[body] <= BEHAVIOUR.get("fail_first", 0):
            self.answer(500, b"not yet")
        elif b"refuse" in body:
            self.answer(400, b"line 1 is bad")
        elif b"die" in body:
            os._exit(7)
        elif b"split" in body:
            self.answer(200, body.replace(b" ", b"\n"))
        elif BEHAVIOUR.get("echo"):
            self.answer(200, body)
        else:
            newline = b"" if BEHAVIOUR.get("no_final_newline") else b"\n"
            lines = body.split(b"\n")
            lines = lines[:-1] if not lines[-1] else lines
            prefix = f"{self.headers['Content-Type']}|{self.headers['Accept']}|{len(lines)}:".encode()
            self.answer(200, b"\n".join(prefix + line for line in lines) + newline)

    def body(self) -> bytes:
        print("encoding", self.headers["Transfer-Encoding"], flush=True)
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)


def train() -> int:
    base = Path(os.environ["SAGEMAKER_BASE_DIR"])
    print("training", json.loads((base / "input/config/hyperparameters.json").read_text()))
    if "checkpoint" in BEHAVIOUR:
        checkpoints = base / "checkpoints"
        print("found", sorted(path.name for path in checkpoints.iterdir()))
        (checkpoints / BEHAVIOUR["checkpoint"]).write_text("kept")
    if "hang" in BEHAVIOUR:
        print("hanging", os.getpid(), flush=True)
        # Until the process is stopped.
        threading.Event().wait()
    if "failure" in BEHAVIOUR:
        (base / "output/failure").write_text(BEHAVIOUR["failure"])
        return 1
    if "exit" in BEHAVIOUR:
        return int(BEHAVIOUR["exit"])
    (base / "model/weights").mkdir()
    (base / "model/weights/w.bin").write_bytes(b"w")
    (base / "output/data/metrics.json").write_text("{}")
    return 0


def serve() -> int:
    if BEHAVIOUR.get("broken"):
        print("the model is broken")
        return 3
    print("environment", json.dumps({k: v for k, v in os.environ.items() if k.startswith("SAGEMAKER_")}), flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
    return 0


sys.exit(train() if sys.argv[1] == "train" else serve())
