"""The contents of the images."""

from __future__ import annotations

import re

import pytest
from engine import INFERENCE, TRAINING, docker, inspect

import multimodal_algo


@pytest.mark.parametrize(("image", "word"), [(TRAINING, "train"), (INFERENCE, "serve")])
def test_the_platforms_words_start_programs_directly(image: str, word: str) -> None:
    config = inspect(image)["Config"]
    assert config["Cmd"] == [word]
    assert config["Entrypoint"] == ["/usr/bin/env"]
    assert config["User"] in ("", "root")
    assert docker("run", "--rm", image, "multimodal-algo", "--version").strip().endswith(multimodal_algo.__version__)


@pytest.mark.parametrize("image", [TRAINING, INFERENCE])
def test_labels_carry_version_and_revision(image: str) -> None:
    labels = inspect(image)["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == multimodal_algo.__version__
    assert labels["org.opencontainers.image.revision"]


def test_the_images_share_every_layer_down_to_the_dependencies() -> None:
    base = inspect("multimodal-base")["RootFS"]["Layers"]
    for image in (TRAINING, INFERENCE):
        assert inspect(image)["RootFS"]["Layers"][: len(base)] == base


@pytest.mark.parametrize("image", [TRAINING, INFERENCE])
def test_no_compiler_cache_test_header_or_index_setting_is_left(image: str) -> None:
    script = """
        command -v gcc cc c++ g++ clang nvcc pip
        find / -xdev \\( -path '*/site-packages/*' -type d -name tests -o -name '*.o' -o -name '*.a' \\) | head
        find / -xdev \\( -name '*.h' -o -name '*.hpp' -o -type f -perm /6000 \\) | head
        find / -xdev -type d \\( -name pip -o -name ensurepip -o -name SelfTest \\) | grep -v dist-info | head
        grep -rIlE '^-----BEGIN ([A-Z]+ )?PRIVATE KEY' /etc /opt /usr --include=*.pem --include=*.key 2>/dev/null | head
        find /root /tmp /src /project /var/cache/apt /var/lib/apt/lists -type f 2>/dev/null \
            | grep -vE '/root/\\.(bashrc|profile)$'
        find / -xdev \\( -name pip.conf -o -name '.pip' \\)
        ls -A /run/secrets 2>/dev/null
    """
    assert docker("run", "--rm", image, "sh", "-c", script, check=False) == ""
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert not re.search(r"index-url[= ]['\"]?[a-z]+:", history)


@pytest.mark.parametrize("image", [TRAINING, INFERENCE])
def test_the_nvidia_runtime_gives_the_container_all_gpus(image: str) -> None:
    environment = inspect(image)["Config"]["Env"]
    assert {"NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility"} <= set(environment)


def test_the_weights_are_in_the_training_image_alone() -> None:
    # Weights are part of every artifact; serving needs no others.
    if not docker("run", "--rm", TRAINING, "ls", "/opt/weights").strip():
        pytest.skip("the images were built without backbone weights (`make weights`, or WEIGHTS_DIR)")
    assert "weights" not in docker("run", "--rm", INFERENCE, "ls", "/opt").split()
