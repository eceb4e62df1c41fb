#!/usr/bin/env bash
# Make a Debian bookworm base image with its own Python 3.11, where no image registry can be reached:
#
#     scripts/local_base_image.sh [NAME]
#
# Needs root, a docker engine, and debootstrap (apt-get install debootstrap). MIRROR names a Debian mirror. Default: the
# mirror that apt uses on this machine.
set -euo pipefail

name=${1:-multimodal-local-base:bookworm}
if ! command -v debootstrap >/dev/null; then
    echo "local_base_image: debootstrap is missing. Run: apt-get install debootstrap" >&2
    exit 1
fi

apt_mirror() {
    local sources=(/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list)
    cat "${sources[@]}" 2>/dev/null | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' '
}

mirror=${MIRROR:-$(apt_mirror || true)}
mirror=${mirror:-http://deb.debian.org/debian}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

log=$root.log
if ! debootstrap --variant=minbase --include=ca-certificates,libgomp1,python3,python3-venv bookworm "$root" "$mirror" \
    >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "local_base_image: debootstrap failed. The whole log is $log." >&2
    exit 1
fi
# Debian's security updates are in another archive, which debootstrap does not read.
security=${SECURITY_MIRROR:-${mirror%/debian*}/debian-security}
echo "deb $security bookworm-security main" >"$root/etc/apt/sources.list.d/security.list"
if ! { cp /etc/resolv.conf "$root/etc/resolv.conf" && chroot "$root" apt-get update &&
    chroot "$root" apt-get --yes upgrade && chroot "$root" apt-get clean; } >>"$log" 2>&1; then
    echo "local_base_image: WARNING: $security cannot be reached, so the image has no security updates since bookworm's" \
        "last point release."
fi
rm "$root/etc/apt/sources.list.d/security.list" "$log"
# The image does not keep settings of this machine.
echo "deb http://deb.debian.org/debian bookworm main" >"$root/etc/apt/sources.list"
echo "deb http://deb.debian.org/debian-security bookworm-security main" >>"$root/etc/apt/sources.list"
# Nor does it name this machine or its network. Docker gives each container both files.
: >"$root/etc/resolv.conf"
: >"$root/etc/hostname"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,man,locale}/*
tar -C "$root" --exclude='./proc/*' --exclude='./sys/*' -c . | docker import - "$name" >/dev/null
echo "base image: $name"
