#!/bin/sh
# Gives an image a share of the requests, per cent; 0 ends the canary.  Its pods compare their
# answers with those of the artifact in the image of stable.
#     ci/canary.sh OVERLAY IMAGE PERCENT
set -eu
[ $# -eq 3 ] || { echo "usage: ci/canary.sh OVERLAY IMAGE PERCENT" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
overlay=$1
image=$2
percent=$3
file=$root/deploy/overlays/$overlay/kustomization.yaml
[ -f "$file" ] || { echo "ci/canary.sh: no overlay $overlay" >&2; exit 2; }
case $percent in
    '' | *[!0-9]* | ????*) echo "ci/canary.sh: $percent is not from 0 to 100" >&2; exit 2 ;;
esac
[ "$percent" -le 100 ] || { echo "ci/canary.sh: $percent is not from 0 to 100" >&2; exit 2; }
namespace=$(sed -n 's/^namespace: //p' "$file")
rest=$((100 - percent))

weigh() {
    if [ "$overlay" = openshift ]; then
        kubectl --namespace "$namespace" patch route.route.openshift.io/topiccore --type=merge --patch \
            "{\"spec\":{\"to\":{\"kind\":\"Service\",\"name\":\"topiccore-stable\",\"weight\":$rest},\"alternateBackends\":[{\"kind\":\"Service\",\"name\":\"topiccore-canary\",\"weight\":$percent}]}}"
    else
        kubectl --namespace "$namespace" patch httproute.gateway.networking.k8s.io/topiccore --type=json --patch \
            "[{\"op\":\"replace\",\"path\":\"/spec/rules/0/backendRefs/0/weight\",\"value\":$rest},{\"op\":\"replace\",\"path\":\"/spec/rules/0/backendRefs/1/weight\",\"value\":$percent}]"
    fi
}

if [ "$percent" -eq 0 ]; then
    weigh
    kubectl --namespace "$namespace" scale deployment/topiccore-canary --replicas=0
    exit
fi
stable=$(kubectl --namespace "$namespace" get deployment/topiccore-stable \
    --output 'jsonpath={.spec.template.spec.containers[?(@.name=="topiccore")].image}')
[ -n "$stable" ] || { echo "ci/canary.sh: topiccore-stable has no image" >&2; exit 1; }
# Requests come when the pods are ready, and not before.
kubectl --namespace "$namespace" set image deployment/topiccore-canary \
    "topiccore=$image" "stable-artifact=$stable"
kubectl --namespace "$namespace" scale deployment/topiccore-canary --replicas=2
kubectl --namespace "$namespace" rollout status deployment/topiccore-canary --timeout=180s
weigh
