#!/bin/sh
# Called by build.sh once the packages are installed: finish.sh ROOT WORK CLIENT. Purges what only the installation needed, adds our
# files, and checks that what is left still has its libraries.
set -eu
root=$1 work=$2 client=$3

# dpkg of this machine, not of the image: it purges the image's own in the end
while read -r package; do
    dpkg --root="$root" --force-depends --force-remove-essential --force-remove-protected --purge "$package"
done <"$work/purged"

# Of dpkg's records only the list of packages stays, for scanners. The rest is for installing, for logging in, or of this machine.
mv "$root/var/lib/dpkg/status" "$work/status"
for path in var/lib/dpkg var/lib/apt var/lib/pam var/lib/systemd var/lib/ucf var/cache var/log var/www etc/apt etc/dpkg \
    etc/passwd- etc/group- etc/shadow etc/shadow- etc/gshadow etc/gshadow- etc/subuid etc/subuid- etc/subgid etc/subgid- \
    etc/.pwd.lock etc/pam.d etc/security etc/init.d etc/rc0.d etc/rc1.d etc/rc2.d etc/rc3.d etc/rc4.d etc/rc5.d etc/rc6.d \
    etc/rcS.d etc/systemd etc/logrotate.d etc/lighttpd etc/hostname etc/resolv.conf root/.bashrc root/.profile "$work"; do
    rm -rf "${root:?}/$path"
done
mkdir -p "$root/var/lib/dpkg" "$root/var/cache" "$root/var/log" "$root/home/desktop"
install -m 644 "$work/status" "$root/var/lib/dpkg/status"

# --mode, so that the umask of a checkout does not get into the image
tar -C "$work/files" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -cf - . | tar -C "$root" --no-overwrite-dir -xf -
# One file instead of noVNC's forty: a browser that loses its connections while it loads them never asks for the rest.
novnc=$root/usr/share/novnc
esbuild "$client" --bundle --minify --charset=utf8 --log-level=warning --alias:novnc="$novnc" \
    --banner:js='// With noVNC, under the MPL 2.0: see /usr/share/doc/novnc/copyright' --outfile="$work/desktop.js"
install -m 644 "$work/desktop.js" "$root/usr/share/vdi-desktop/www/desktop.js"
rm -rf "$novnc"
chown 1000:1000 "$root/home/desktop"
find "$root" -xdev -perm /6000 -exec chmod ug-s {} +

# Every program and library has the libraries that it names.
chroot "$root" find /usr/bin /usr/sbin /usr/lib -type f '(' -perm /111 -o -name '*.so*' ')' -exec ldd {} + \
    >"$work/ldd" 2>/dev/null || true # ldd fails on scripts
[ -s "$work/ldd" ]
if grep 'not found' "$work/ldd" | sort -u | grep .; then
    echo "these libraries are missing: take their packages out of absent-packages or purged-packages"
    exit 1
fi
