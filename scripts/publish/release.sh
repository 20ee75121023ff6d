#!/usr/bin/env bash
# Makes a release of GITHUB_REF_NAME with the files in release/, their checksums and a signature of the checksums.
set -euo pipefail
cd "$(dirname "$0")/../.."
cd release
sha256sum -- *.tar.gz >SHA256SUMS
cosign sign-blob --yes --bundle SHA256SUMS.sigstore.json SHA256SUMS
options=(--verify-tag --title "${GITHUB_REF_NAME:?}" --notes "CHANGELOG.md has what is new.")
if [[ $GITHUB_REF_NAME == *-* ]]; then options+=(--prerelease); fi
gh release create "$GITHUB_REF_NAME" "${options[@]}" ./*.tar.gz SHA256SUMS SHA256SUMS.sigstore.json
