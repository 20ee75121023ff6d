#!/usr/bin/env bash
# Builds the image for all platforms. With PUSH=true also pushes it under the tags of GITHUB_REF, and signs it.
set -euo pipefail
cd "$(dirname "$0")/../.."
: "${IMAGE:?}" "${GITHUB_SHA:?}"
export IMAGE=${IMAGE,,}
export SOURCE_COMMIT=${GITHUB_SHA:0:12}

if [[ ${PUSH:-false} != true ]]; then
  exec docker buildx bake image-all
fi

TAGS=$(node scripts/image-tags.ts)
export TAGS
metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
docker buildx bake --metadata-file "$metadata" image-push
digest=$(node -p 'JSON.parse(fs.readFileSync(process.argv[1]))["image-push"]["containerimage.digest"]' "$metadata")
# Tags can move; what is signed is the index by its digest.
cosign sign --yes "$IMAGE@$digest"
