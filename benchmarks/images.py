"""Print the sizes of the images that `make images` built, as one JSON line.

A MB is 1,000,000 bytes. ``shared_mb`` is the size of the base image, whose layers both other images have. ``own_mb`` is
the size of the layers that each of them adds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--append", type=Path, help="also append the line to this file")
    arguments = parser.parse_args()
    base, *images = (inspected(name) for name in ("multimodal-base", "multimodal-training", "multimodal-inference"))
    layers = base["RootFS"]["Layers"]
    assert all(image["RootFS"]["Layers"][: len(layers)] == layers for image in images)
    labels = images[0]["Config"]["Labels"]
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": labels["org.opencontainers.image.revision"],
        "torch_index": labels["multimodal-algo.torch-index"] or "plain",
        "shared_mb": megabytes(base["Size"]),
        "own_mb": {
            name: megabytes(image["Size"] - base["Size"])
            for name, image in zip(("training", "inference"), images, strict=True)
        },
    }
    line = json.dumps(result)
    print(line)
    if arguments.append:
        with arguments.append.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def inspected(name: str) -> dict:
    done = subprocess.run(["docker", "image", "inspect", name], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)[0]


def megabytes(size: int) -> float:
    return round(size / 1e6, 1)


if __name__ == "__main__":
    main()
