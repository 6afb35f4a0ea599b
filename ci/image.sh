#!/bin/sh
# Puts an artifact into the image of the service; options go to buildah.
#     ci/image.sh ARTIFACT SERVICE_IMAGE NAME:TAG [OPTION...]
set -eu
[ $# -ge 3 ] || { echo "usage: ci/image.sh ARTIFACT SERVICE_IMAGE NAME:TAG [OPTION...]" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
artifact=$1
service=$2
tag=$3
shift 3
[ -f "$artifact/manifest.json" ] ||
    { echo "ci/image.sh: $artifact is no artifact directory" >&2; exit 2; }
exec buildah build --format docker --file "$root/model.Dockerfile" --build-arg "SERVICE=$service" \
    --build-context "artifact=$artifact" --tag "$tag" "$@" "$root"
