#!/bin/sh
# Back to what was served before: no request to the canary, then the image that ci/deploy.sh has
# replaced in stable.  With MODEL, the version that was promoted for the image that goes, the model
# registry goes back as well, if it still has that one.
#     ci/rollback.sh OVERLAY [MODEL REASON]
set -eu
[ $# -eq 1 ] || [ $# -eq 3 ] || { echo "usage: ci/rollback.sh OVERLAY [MODEL REASON]" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
file=$root/deploy/overlays/$1/kustomization.yaml
[ -f "$file" ] || { echo "ci/rollback.sh: no overlay $1" >&2; exit 2; }
namespace=$(sed -n 's/^namespace: //p' "$file")
previous=$(kubectl --namespace "$namespace" get deployment/topiccore-stable \
    --output 'jsonpath={.metadata.annotations.topiccore/previous-image}')
[ -n "$previous" ] || { echo "ci/rollback.sh: no image before this one is known" >&2; exit 1; }
"$root/ci/canary.sh" "$1" - 0
kubectl --namespace "$namespace" set image deployment/topiccore-stable "topiccore=$previous"
kubectl --namespace "$namespace" rollout status deployment/topiccore-stable --timeout=180s
# Again, it would go nowhere, least of all to the image that was bad.
kubectl --namespace "$namespace" annotate deployment/topiccore-stable topiccore/previous-image-
if [ $# -eq 3 ]; then
    topiccore registry rollback --expect "$2" --reason "$3"
fi
