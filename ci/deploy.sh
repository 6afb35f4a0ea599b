#!/bin/sh
# Makes an image what all requests go to; a canary ends.  Pods that do not get ready go back to what
# was there before; where they do, the image that was there is kept for ci/rollback.sh.
#     ci/deploy.sh OVERLAY IMAGE
set -eu
[ $# -eq 2 ] || { echo "usage: ci/deploy.sh OVERLAY IMAGE" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
overlay=$1
image=$2
[ -f "$root/deploy/overlays/$overlay/kustomization.yaml" ] ||
    { echo "ci/deploy.sh: no overlay $overlay" >&2; exit 2; }
case ${image##*/} in
    *@sha256:*) separator=@ name=${image%@*} field=digest ;;
    *:*) separator=: name=${image%:*} field=newTag ;;
    *) echo "ci/deploy.sh: $image has neither tag nor digest" >&2; exit 2 ;;
esac
namespace=$(sed -n 's/^namespace: //p' "$root/deploy/overlays/$overlay/kustomization.yaml")

# kustomize takes bases by relative paths only.
work=$(mktemp -d "$root/deploy/.deploy-XXXXXX")
trap 'rm -r "$work"' EXIT
cat >"$work/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../overlays/$overlay]
images:
  - {name: topiccore-stable, newName: "$name", $field: "${image##*"$separator"}"}
  - {name: topiccore-canary, newName: "$name", $field: "${image##*"$separator"}"}
END
ask() {
    kubectl --namespace "$namespace" get "$1" --ignore-not-found --output "jsonpath=$2"
}
before=$(ask deployment/topiccore-stable '{.metadata.annotations.deployment\.kubernetes\.io/revision}')
old=$(ask deployment/topiccore-stable '{.spec.template.spec.containers[?(@.name=="topiccore")].image}')
pods=$(ask deployment/topiccore-canary '{.spec.replicas}')
# Applied, the manifests would take its pods before its requests.
[ "${pods:-0}" = 0 ] || "$root/ci/canary.sh" "$overlay" - 0
{
    kubectl apply --server-side --force-conflicts -k "$work" &&
        kubectl --namespace "$namespace" rollout status deployment/topiccore-stable --timeout=180s
} || {
    [ -z "$before" ] ||
        kubectl --namespace "$namespace" rollout undo deployment/topiccore-stable --to-revision="$before"
    exit 1
}
[ -z "$old" ] || [ "$old" = "$image" ] ||
    kubectl --namespace "$namespace" annotate --overwrite deployment/topiccore-stable \
        "topiccore/previous-image=$old"
