# Builds an image of busybox in the format of `docker save`: https://github.com/moby/docker-image-spec/blob/main/spec.md
#
#   sh -c "$this_script" busybox IMAGE DIRECTORY
#
# The result is $DIRECTORY/busybox.tar. Without a command the image only waits, as a pod's sandbox must.

set -eu
image=$1
cd "$2"

mkdir -p rootfs/bin rootfs/tmp
cp "$(command -v busybox)" rootfs/bin/busybox
for applet in $(busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "rootfs/bin/$applet"
done
tar --create --file layer.tar --directory rootfs --owner 0 --group 0 .
digest=$(sha256sum layer.tar)

cat >config.json <<EOF
{
  "architecture": "$(dpkg --print-architecture)",
  "os": "linux",
  "config": {"Entrypoint": ["/bin/sleep", "infinity"], "Env": ["PATH=/bin"]},
  "rootfs": {"type": "layers", "diff_ids": ["sha256:${digest%% *}"]}
}
EOF
cat >manifest.json <<EOF
[{"Config": "config.json", "RepoTags": ["$image"], "Layers": ["layer.tar"]}]
EOF
tar --create --file busybox.tar manifest.json config.json layer.tar
