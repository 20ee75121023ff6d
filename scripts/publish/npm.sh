#!/usr/bin/env bash
# Publishes the package of the version that GITHUB_REF_NAME names, with provenance. A version that is not final gets the tag next.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(node -p 'JSON.parse(fs.readFileSync("package.json")).version')
if [[ ${GITHUB_REF_NAME:?} != "v$version" ]]; then
  echo "Cannot publish: the tag is $GITHUB_REF_NAME, and package.json has $version" >&2
  exit 1
fi
npm ci
tag=latest
if [[ $version == *-* ]]; then tag=next; fi
npm publish --provenance --access public --tag "$tag"
