#!/usr/bin/env bash
# Build multimodal-training and multimodal-inference (`make images`). Settings, as environment variables:
#
#   BASE_IMAGE       Image with Python 3.11 on Debian bookworm. Default: the public slim image. Where no registry can be
#                    reached, scripts/local_base_image.sh makes one.
#   TORCH_INDEX_URL  Index of torch's builds. Default: CUDA 12.6, which runs on the drivers of batch transform's GPU
#                    hosts. Empty: the plain package index, for development. Its CUDA 13 build does not run there.
#   WEIGHTS_DIR      Folder of networks for the training image. Default: weights (`make weights`).
#   TAG              Tag of the images. Default: latest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/docker_engine.sh

public_base=python:3.11-slim-bookworm
local_base=multimodal-local-base:bookworm
cuda12=https://download.pytorch.org/whl/cu126
tag=${TAG:-latest}
weights=${WEIGHTS_DIR:-weights}

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

base=${BASE_IMAGE:-$public_base}
if [[ -z ${BASE_IMAGE:-} ]] && ! have_image "$public_base" && ! docker pull --quiet "$public_base" 2>/dev/null; then
    echo "images: $public_base cannot be pulled. A local base image is used instead."
    base=$local_base
    have_image "$local_base" || scripts/local_base_image.sh "$local_base"
fi

torch_index=${TORCH_INDEX_URL-$cuda12}
if [[ -z ${TORCH_INDEX_URL+set} ]] && ! curl -fsS --max-time 20 -o /dev/null "$cuda12/torch/" 2>/dev/null; then
    echo "images: WARNING: $cuda12 cannot be reached, so torch comes from the plain package index."
    echo "images: WARNING: these images are for development. Their CUDA 13 finds no GPU on batch transform hosts."
    torch_index=
fi

secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
# The package index settings of this machine are build secrets. Paths of this machine do not exist inside a build.
python3 scripts/pip_settings.py >"$secrets/pip_config"
ca_bundle=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
cp "$ca_bundle" "$secrets/ca_bundle" 2>/dev/null || : >"$secrets/ca_bundle"

mkdir -p build/weights weights
if [[ $(realpath "$weights") != $(realpath weights) ]]; then
    rm -rf build/weights && mkdir -p build/weights
    cp -RL "$weights"/. build/weights/ 2>/dev/null || true
    weights=build/weights
fi
if ! compgen -G "$weights/*" >/dev/null; then
    echo "images: $weights has no networks, so the images have those of the package alone ('make weights' adds others)."
    touch "$weights/.keep"
fi

version=$(sed -nE 's/^__version__ = "(.*)"$/\1/p' src/multimodal_algo/__init__.py)
revision=$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown)

run_build() {
    local name=$1 started=$SECONDS
    shift
    "${build[@]}" --network host --file "containers/$name/Dockerfile" --tag "multimodal-$name:$tag" "$@" .
    echo "images: multimodal-$name:$tag, $((SECONDS - started)) s"
}

run_build base --build-arg BASE_IMAGE="$base" --build-arg TORCH_INDEX_URL="$torch_index" \
    --secret id=pip_config,src="$secrets/pip_config" --secret id=ca_bundle,src="$secrets/ca_bundle"
for name in training inference; do
    own=()
    [[ $name == training ]] && own=(--build-arg WEIGHTS_DIR="$weights")
    run_build "$name" --build-arg BASE="multimodal-base:$tag" --build-arg VERSION="$version" \
        --build-arg REVISION="$revision" "${own[@]}"
done
docker image ls --filter reference='multimodal-*' --format 'images: {{.Repository}}:{{.Tag}} {{.Size}}'
