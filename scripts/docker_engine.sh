# To be sourced. Checks that a docker engine runs, and sets $build to the command that builds with BuildKit.
if ! docker info >/dev/null 2>&1; then
    cat >&2 <<'HELP'
There is no running docker engine. On Debian, as root:
    apt-get install -y docker.io docker-compose
    dockerd >/tmp/dockerd.log 2>&1 &        (or: systemctl start docker)
Elsewhere: https://docs.docker.com/engine/install/
HELP
    exit 1
fi

# A client of version 23 or later needs the buildx plug-in; older ones have BuildKit inside.
build=()
while read -r client; do
    if "$client" buildx version >/dev/null 2>&1; then
        # SageMaker takes docker's media types: no attestations, which make an OCI index.
        build=(env DOCKER_BUILDKIT=1 "$client" build --provenance=false)
        break
    elif [[ $("$client" version --format '{{.Client.Version}}') =~ ^(18|19|20)\. ]]; then
        build=(env DOCKER_BUILDKIT=1 "$client" build)
        break
    fi
done < <(type -ap docker)
if [[ ${#build[@]} -eq 0 ]]; then
    echo "docker cannot build with BuildKit. Install its buildx plug-in (package docker-buildx-plugin)." >&2
    exit 1
fi
