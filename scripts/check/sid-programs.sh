#!/bin/sh
# Brings programs that Debian 12 lacks or has in an old version from Debian sid into a folder: sid-programs.sh FOLDER. They need
# nothing but glibc. The machine's own packages and lists of packages stay as they are.
set -eu
folder=$1
if [ -e "$folder/usr/bin/cosign" ]; then exit 0; fi
packages='docker-buildx docker-compose kubectl cosign'

mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial" "$folder/apt/empty"
folder=$(cd "$folder" && pwd)
signed=/usr/share/keyrings/debian-archive-keyring.gpg
# The mirror of this machine.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/$' | head -n 1)
echo "deb [signed-by=$signed] ${mirror:-http://deb.debian.org/debian/} sid main" >"$folder/apt/sources.list"
: >"$folder/apt/status"
set -- -o "Dir::Etc::sourcelist=$folder/apt/sources.list" -o "Dir::Etc::sourceparts=$folder/apt/empty" \
  -o "Dir::State::lists=$folder/apt/lists" -o "Dir::State::status=$folder/apt/status" \
  -o "Dir::Cache=$folder/apt/cache" -o APT::Sandbox::User=root
apt-get "$@" update -qq
cd "$folder"
# shellcheck disable=SC2086
apt-get "$@" download -qq $packages
for package in *.deb; do dpkg -x "$package" "$folder"; done
rm -r "$folder/apt" "$folder"/*.deb
