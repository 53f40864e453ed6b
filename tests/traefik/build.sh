#!/bin/sh
# Builds Traefik from its Go module: sh build.sh FOLDER
#
# What Traefik's go.mod replaces has to be replaced here as well: that of a dependency doesn't count.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export CGO_ENABLED=0 GOFLAGS= GOWORK=off

# lego, a client of certificate authorities, without what its providers of DNS need.
cd "$here/lego"
go mod download github.com/go-acme/lego/v5
lego=$(go list -m -f '{{.Dir}}' github.com/go-acme/lego/v5)
cp -r "$lego" "$build/lego"
chmod -R u+w "$build/lego"
rm -rf "$build/lego/providers/dns"
mkdir "$build/lego/providers/dns"
cp "$here/dns.go.txt" "$build/lego/providers/dns/dns.go"

cp -r "$here/go.mod" "$here/go.sum" "$here/ext" "$build"
cd "$build"
go build -trimpath '-ldflags=-s -w' -o "$1/" github.com/traefik/traefik/v3/cmd/traefik
