"""The two images, as `make images` leaves them, and the SDKs' virtual environments, as `make sdks` does.

Without them these tests are skipped, unless ``REQUIRE_CONTAINERS`` is set.
"""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine import INFERENCE, TRAINING, docker

SDKS = Path(__file__).parents[2] / "build/sdks"


def missing(reason: str) -> None:
    if os.environ.get("REQUIRE_CONTAINERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put last what says how soon a container answers, beside short unit tests instead of a job on several hosts."""
    items.sort(key=lambda item: item.path.name == "test_inference_image.py")


@pytest.fixture(scope="session", autouse=True)
def images() -> None:
    for image in (TRAINING, INFERENCE):
        try:
            subprocess.run(["docker", "image", "inspect", image], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            missing(f"there is no docker engine with the image {image}. Run `make images sdks`, then `make test`.")


@pytest.fixture(scope="session")
def sdk() -> Callable[[int], Path]:
    """The Python of an SDK's virtual environment, by the SDK's major version."""

    def python(version: int) -> Path:
        path = SDKS / f"v{version}/bin/python"
        if not path.exists():
            missing(f"SageMaker's SDK {version} is not installed. Run `make sdks`, then `make test`.")
        return path

    return python


@pytest.fixture
def container() -> Iterator[Callable[..., str]]:
    """Starts containers in the background, and removes them after the test."""
    names: list[str] = []

    def start(*arguments: str) -> str:
        names.append(f"multimodal-test-{uuid.uuid4().hex[:12]}")
        docker("run", "--detach", "--name", names[-1], *arguments)
        return names[-1]

    yield start
    for name in names:
        docker("rm", "--force", name, check=False)
