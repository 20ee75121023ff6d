#!/bin/sh
# Puts all files of the image into a folder: image-files.sh FOLDER [DIST]. Runs in the build stage of the Dockerfile, after the
# build. DIST is the built program: dist unless given.
set -eu
image=$1
dist=${2:-dist}
node=$(readlink -f "$(command -v node)")

# Copies a file to the same place in the image, with the folders above it. A link becomes a file.
copy() {
  mkdir -p "$image$(dirname "$1")"
  cp -L "$1" "$image$1"
}

mkdir -p "$image/usr/bin" "$image/app" "$image/etc" "$image/tmp"
cp "$node" "$image/usr/bin/node"
# What Node.js is linked with, the loader included; and what glibc loads by name to resolve host names.
linked=$(ldd "$node" | grep -o '/[^ ]*')
for library in $linked; do copy "$library"; done
libraries=$(dirname "$(echo "$linked" | grep '/libc\.so\.6$')")
for library in libnss_dns.so.2 libnss_files.so.2 libresolv.so.2; do
  if [ -e "$libraries/$library" ]; then copy "$libraries/$library"; fi
done
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then copy /etc/ssl/certs/ca-certificates.crt; fi

for name in main.js program.js chunks package.json NOTICE THIRD-PARTY-LICENSES.txt; do cp -R "$dist/$name" "$image/app/"; done
cp LICENSE "$image/app/"
# There is no env and no shell for the usual first line. The kernel passes one option on.
{
  echo '#!/usr/bin/node --max-semi-space-size=4'
  tail -n +2 "$dist/main.js"
} >"$image/app/main.js"
chmod 755 "$image/app/main.js"
ln -s ../../app/main.js "$image/usr/bin/docker-http-passthrough"

echo 'passthrough:x:65532:65532::/tmp:/sbin/nologin' >"$image/etc/passwd"
echo 'passthrough:x:65532:' >"$image/etc/group"
echo 'hosts: files dns' >"$image/etc/nsswitch.conf"
chmod -R u=rwX,go=rX "$image"
chmod 1777 "$image/tmp"
# A volume that is mounted here for the first time gets this owner.
mkdir -m 700 "$image/cache"
chown 65532:65532 "$image/cache"
find "$image" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
