# Makes the root file system of the busybox image in the current directory.

set -eu
mkdir -p bin tmp
cp "$(command -v busybox)" bin/busybox
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "bin/$applet"
done
