# Packs files as an image in the format of `docker save`: https://github.com/moby/docker-image-spec/blob/main/spec.md
#
#   sh -c "$this_script" image IMAGE ENTRYPOINT DIRECTORY FILE
#
# ENTRYPOINT is a JSON list. FILE is relative to DIRECTORY, and keeps its path in the image. The result is ./image.tar.

set -eu
image=$1 entrypoint=$2 directory=$3 file=$4

tar --create --file layer.tar --directory "$directory" --owner 0 --group 0 "$file"
digest=$(sha256sum layer.tar)

cat >config.json <<JSON
{
  "architecture": "$(dpkg --print-architecture)",
  "os": "linux",
  "config": {"Entrypoint": $entrypoint, "Env": ["PATH=/bin"]},
  "rootfs": {"type": "layers", "diff_ids": ["sha256:${digest%% *}"]}
}
JSON
cat >manifest.json <<JSON
[{"Config": "config.json", "RepoTags": ["$image"], "Layers": ["layer.tar"]}]
JSON
tar --create --file image.tar manifest.json config.json layer.tar
rm layer.tar
