#!/usr/bin/env bash
# List the packages of the images (`make sbom`), as they are installed there:
#
#     scripts/sbom.sh DIRECTORY
#
# sbom.json has the Python packages with their licenses, as CycloneDX. requirements.txt has their versions, debian.txt the
# packages of Debian. Both images hold the same packages. IMAGE names another one. The tools are in DIRECTORY/venv.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/docker_engine.sh

directory=$1
image=${IMAGE:-multimodal-inference}
container=$(docker create "$image")
trap 'docker rm --force "$container" >/dev/null; rm -rf "$directory/image"' EXIT

# The environment of the image is read here: it has neither pip nor these tools.
rm -rf "$directory/image" && mkdir -p "$directory/image/lib"
docker cp --quiet "$container:/opt/venv/pyvenv.cfg" "$directory/image/"
docker run --rm "$image" sh -c 'cd /opt/venv && tar -c lib/python3*/site-packages/*.dist-info' |
    tar -x -C "$directory/image"
"$directory/venv/bin/python" -m venv --without-pip --upgrade "$directory/image"
"$directory/venv/bin/cyclonedx-py" environment --output-reproducible --gather-license-texts \
    --pyproject pyproject.toml --mc-type application --output-file "$directory/sbom.json" \
    "$directory/image/bin/python"
docker run --rm "$image" python -c '
from importlib.metadata import distributions
for name, version in sorted({(each.name, each.version) for each in distributions()}):
    print(f"{name}=={version}")' >"$directory/requirements.txt"
docker run --rm "$image" dpkg-query --show >"$directory/debian.txt"
echo "sbom: $(grep -c . "$directory/requirements.txt") Python packages, $(grep -c . "$directory/debian.txt") of Debian:" \
    "$directory/sbom.json"
