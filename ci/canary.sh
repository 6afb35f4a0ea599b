#!/bin/sh
# Gives an image a share of the requests, per cent; 0 ends the canary.  Its pods compare their
# answers with those of the artifact in the image of stable; when they do not get ready, and no
# request goes to the canary, none of them stays.
#     ci/canary.sh OVERLAY IMAGE PERCENT [FILE]
# FILE gets the line CANARY=yes; or CANARY=no where there is no stable to compare with, or where
# NO_CANARY gives a reason to go without.
set -eu
[ $# -eq 3 ] || [ $# -eq 4 ] ||
    { echo "usage: ci/canary.sh OVERLAY IMAGE PERCENT [FILE]" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
overlay=$1
image=$2
percent=$3
told=${4:-}
file=$root/deploy/overlays/$overlay/kustomization.yaml
[ -f "$file" ] || { echo "ci/canary.sh: no overlay $overlay" >&2; exit 2; }
case $percent in
    '' | *[!0-9]* | ????*) echo "ci/canary.sh: $percent is not from 0 to 100" >&2; exit 2 ;;
esac
[ "$percent" -le 100 ] || { echo "ci/canary.sh: $percent is not from 0 to 100" >&2; exit 2; }
namespace=$(sed -n 's/^namespace: //p' "$file")
rest=$((100 - percent))

weight() {
    if [ "$overlay" = openshift ]; then
        kubectl --namespace "$namespace" get route.route.openshift.io/topiccore \
            --output 'jsonpath={.spec.alternateBackends[0].weight}'
    else
        kubectl --namespace "$namespace" get httproute.gateway.networking.k8s.io/topiccore \
            --output 'jsonpath={.spec.rules[0].backendRefs[1].weight}'
    fi
}

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
go_without() {
    echo "no canary: $1"
    echo CANARY=no >"$told"
    exit
}

[ -z "$told" ] || [ -z "${NO_CANARY:-}" ] || go_without "$NO_CANARY"
stable=$(kubectl --namespace "$namespace" get deployment/topiccore-stable --ignore-not-found \
    --output 'jsonpath={.spec.template.spec.containers[?(@.name=="topiccore")].image}')
if [ -z "$stable" ]; then
    [ -z "$told" ] || go_without "there is no topiccore-stable yet"
    echo "ci/canary.sh: topiccore-stable has no image" >&2
    exit 1
fi
before=$(weight)
# Requests come when the pods are ready, and not before.
{
    kubectl --namespace "$namespace" set image deployment/topiccore-canary \
        "topiccore=$image" "stable-artifact=$stable" &&
        kubectl --namespace "$namespace" scale deployment/topiccore-canary --replicas=2 &&
        kubectl --namespace "$namespace" rollout status deployment/topiccore-canary --timeout=180s
} || {
    [ "$before" != 0 ] ||
        kubectl --namespace "$namespace" scale deployment/topiccore-canary --replicas=0
    exit 1
}
weigh
[ -z "$told" ] || echo CANARY=yes >"$told"
