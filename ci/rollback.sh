#!/bin/sh
# Back to what was served before: no request to the canary, then the last image of stable.
#     ci/rollback.sh OVERLAY REASON
set -eu
[ $# -eq 2 ] || { echo "usage: ci/rollback.sh OVERLAY REASON" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
file=$root/deploy/overlays/$1/kustomization.yaml
[ -f "$file" ] || { echo "ci/rollback.sh: no overlay $1" >&2; exit 2; }
namespace=$(sed -n 's/^namespace: //p' "$file")
"$root/ci/canary.sh" "$1" - 0
kubectl --namespace "$namespace" rollout undo deployment/topiccore-stable
kubectl --namespace "$namespace" rollout status deployment/topiccore-stable --timeout=180s
if [ -n "${TOPICCORE_REGISTRY:-}" ]; then
    topiccore registry rollback --reason "$2"
fi
