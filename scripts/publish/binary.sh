#!/usr/bin/env bash
# Makes release/docker-http-passthrough-{version}-linux-{arch}.tar.gz with the executable of this machine, its man page and its unit.
set -euo pipefail
cd "$(dirname "$0")/../.."
npm ci
npm run build:binary
version=$(node -p 'JSON.parse(fs.readFileSync("package.json")).version')
case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64) arch=arm64 ;;
  *) arch=$(uname -m) ;;
esac
name=docker-http-passthrough-$version-linux-$arch
mkdir -p release
cp deploy/systemd/docker-http-passthrough.service binary/
# Names, owners and times do not depend on the machine.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --transform "s,^binary,$name," -cf - binary |
  gzip -n9 >"release/$name.tar.gz"
