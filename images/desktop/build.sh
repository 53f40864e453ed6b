#!/bin/sh
# Builds the desktop image from Debian packages, as an OCI archive: build.sh OUTPUT.oci.tar [ARCHITECTURE]
# The same package versions give the same bytes. Runs as root (it makes a chroot), on Debian, with the packages in
# build-packages; takes the packages from where this machine's apt takes them. The architecture is this machine's, or another one,
# as Debian calls it, whose programs the kernel hands to QEMU.
set -eu
umask 022

image=${VDI_IMAGE:-vdiwarden.local/desktop:dev}
# Every time in the image; raise it by hand, never from the clock.
export SOURCE_DATE_EPOCH=1767225600 LC_ALL=C

say() { echo "desktop image: $*" >&2; }
die() { say "error: $*"; exit 1; }
# The lines of a list, without comments and empty lines.
list() { sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$here/$1"; }

[ $# -eq 1 ] || [ $# -eq 2 ] || die "usage: build.sh OUTPUT.oci.tar [ARCHITECTURE]"
case $1 in /*) output=$1 ;; *) output=$PWD/$1 ;; esac
here=$(cd "$(dirname "$0")" && pwd)
while read -r tool package; do
    command -v "$tool" >/dev/null || die "$tool is missing: apt-get install $package"
done <<END
mmdebstrap mmdebstrap
umoci umoci
esbuild esbuild
rsvg-convert librsvg2-bin
dpkg-deb dpkg
END
native=$(dpkg --print-architecture)
architecture=${2:-$native}
[ "$architecture" = "$native" ] || arch-test "$architecture" >/dev/null \
    || die "this machine can't run programs for $architecture: apt-get install arch-test qemu-user-static binfmt-support"
[ "$(id -u)" -eq 0 ] || die "run this as root: a chroot is made"
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[ "$suite" = bookworm ] || die "this builds from Debian 12 (bookworm), not from ${suite:-an unknown release}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say "drawing the wallpaper and the icons"
mkdir "$work/files"
cp -r "$here/rootfs/." "$work/files"
share=$work/files/usr/share/vdi-desktop
rsvg-convert --width 2560 --output "$share/wallpaper.png" "$here/art/wallpaper.svg"
rsvg-convert --width 64 --output "$share/terminal.png" "$here/art/terminal.svg"
cp "$here/art/logo.svg" "$share/www/logo.svg"

say "making the stand-in for the packages that are left out"
mkdir -p "$work/absent/DEBIAN"
# perl is asked for as perl:any, which only a package marked as Multi-Arch: allowed can provide
cat >"$work/absent/DEBIAN/control" <<END
Package: vdi-desktop-absent
Version: 1
Architecture: $architecture
Multi-Arch: allowed
Maintainer: vdiwarden
Provides: $(list absent-packages | sed 's/$/ (= 99:0)/' | paste -sd,)
Description: stands in for packages that the desktop never uses
END
dpkg-deb --root-owner-group -b "$work/absent" "$work/absent.deb" >/dev/null

say "installing packages of $suite"
sources=$(find /etc/apt/sources.list /etc/apt/sources.list.d -name '*.list' -size +0 -o -name '*.sources' 2>/dev/null | sort)
[ -n "$sources" ] || die "no apt sources in /etc/apt/sources.list or /etc/apt/sources.list.d"
apt-config dump | grep -E '^Acquire::https?::' >"$work/apt.conf" || true
list purged-packages >"$work/purged"
# The lists below are split into words, and their patterns are for dpkg, not for this shell.
set -f
# shellcheck disable=SC2046,SC2086
mmdebstrap --quiet --mode=root --variant=essential --architectures="$architecture" --format=tar \
    --include="$(list packages | sort | paste -sd,),$work/absent.deb" \
    --aptopt="$work/apt.conf" \
    $(list excluded-paths | sed 's/^/--dpkgopt=path-/') \
    --skip=cleanup/apt,cleanup/mmdebstrap \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --setup-hook="mkdir -p \"\$1$work\" && cp $work/absent.deb \"\$1$work\"" \
    --customize-hook="$here/finish.sh \"\$1\" $work $here/client/desktop.js" \
    "$suite" "$work/layer.tar" $sources >"$work/log" 2>&1 \
    || { tail -n 40 "$work/log" >&2; die "mmdebstrap failed, see above"; }
set +f

say "packing $image"
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
umoci init --layout "$work/oci"
umoci new --image "$work/oci:image"
umoci raw add-layer --image "$work/oci:image" --history.created "$created" --history.created_by build.sh "$work/layer.tar"
umoci config --image "$work/oci:image" --no-history --created "$created" --architecture "$architecture" --os linux \
    --config.user 1000:1000 --config.workingdir /home/desktop \
    --config.entrypoint /usr/bin/vdi-desktop --config.exposedports 6080/tcp --config.stopsignal SIGTERM \
    --config.env PATH=/usr/local/bin:/usr/bin:/bin --config.env HOME=/home/desktop --config.env USER=desktop \
    --config.env LANG=C.UTF-8 --config.env DISPLAY=:1 --config.env SHELL=/bin/bash \
    --config.label "org.opencontainers.image.title=vdiwarden desktop" \
    --config.label "org.opencontainers.image.licenses=Apache-2.0"
umoci gc --layout "$work/oci" >/dev/null 2>&1
# containerd takes the full name from its own annotation; OCI's has the tag alone
sed -i "s|\"org.opencontainers.image.ref.name\":\"image\"|\"io.containerd.image.name\":\"$image\",\"org.opencontainers.image.ref.name\":\"${image##*:}\"|" \
    "$work/oci/index.json"
grep -q io.containerd.image.name "$work/oci/index.json" || die "the image could not be named"
tar -C "$work/oci" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    -cf "$work/image.tar" oci-layout index.json blobs
mkdir -p "$(dirname "$output")"
mv "$work/image.tar" "$output"
say "$output: $(du -m "$output" | cut -f1) MB, $(stat -c %s "$work/layer.tar" | awk '{printf "%d", $1 / 1048576}') MB unpacked, sha256 $(sha256sum "$output" | cut -d' ' -f1)"
