"""Tells from Prometheus whether a canary may be promoted: returns 0 if so, 1 if not.

    python ci/verdict.py PROMETHEUS NAMESPACE [MINUTES]

It must have answered enough requests, and neither fail more often than stable does nor be slower.
"""

import json
import math
import sys
import urllib.parse
import urllib.request

LEAST_REQUESTS = 1000
MOST_FAILURES = 0.001
"""More of its answers than stable's, as a share."""
MOST_RATIO = 1.5
"""Of the 99th percentiles of time within the application."""

WHERE = 'namespace="{namespace}",track="{track}"'
V1 = 'route=~"/v1/.*"'
REQUESTS = f"sum(increase(topiccore_http_requests_total{{{{{WHERE},{V1}}}}}[{{minutes}}m]))"
FAILURES = (
    f'sum(increase(topiccore_http_requests_total{{{{{WHERE},{V1},status=~"5.."}}}}[{{minutes}}m]))'
)
SLOWEST = (
    f"histogram_quantile(0.99, sum by (le) (rate("
    f'topiccore_http_request_seconds_bucket{{{{{WHERE},route="/v1/topics"}}}}[{{minutes}}m])))'
)


def main(arguments: list[str]) -> int:
    """Prints the figures and the verdict."""
    if len(arguments) not in (2, 3):
        print("usage: python ci/verdict.py PROMETHEUS NAMESPACE [MINUTES]", file=sys.stderr)
        return 2
    minutes = arguments[2] if len(arguments) == 3 else "10"
    figures = {}
    for track in ("stable", "canary"):
        names = {"namespace": arguments[1], "track": track, "minutes": minutes}
        found = [
            value(arguments[0], query.format(**names)) for query in (REQUESTS, FAILURES, SLOWEST)
        ]
        figures[track] = found
        print(f"{track}: {found[0]:.0f} requests, {found[1]:.0f} failed, p99 {found[2]:.6f} s")
    problems = judge(*figures["stable"], *figures["canary"])
    for problem in problems:
        print(f"not to be promoted: {problem}", file=sys.stderr)
    return 1 if problems else 0


def judge(
    stable: float,
    stable_failed: float,
    stable_p99: float,
    canary: float,
    canary_failed: float,
    canary_p99: float,
) -> list[str]:
    """What speaks against the canary."""
    if not canary >= LEAST_REQUESTS:
        return [f"the canary answered {canary:.0f} requests, fewer than {LEAST_REQUESTS}"]
    problems = []
    allowed = (stable_failed / stable if stable > 0 else 0) + MOST_FAILURES
    if canary_failed / canary > allowed:
        problems.append(f"{canary_failed / canary:.2%} failed, more than {allowed:.2%}")
    if not math.isnan(stable_p99) and not canary_p99 <= MOST_RATIO * stable_p99:
        problems.append(f"its p99 is {canary_p99 / stable_p99:.2f} times that of stable")
    return problems


def value(base: str, query: str) -> float:
    """The one number that a query gives; 0 when it gives none."""
    address = base.rstrip("/") + "/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(address, timeout=30) as response:
        result = json.load(response)["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
