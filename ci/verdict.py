"""Tells from Prometheus whether a canary may be promoted: returns 0 if so, 1 if not.

    python ci/verdict.py PROMETHEUS NAMESPACE [MINUTES [MODEL]]

It must have answered enough requests, neither fail more often than stable does nor be slower, and
answer enough queries as stable's artifact does.  MODEL, an artifact's id or its beginning, is what
the canary should answer with; where stable answers with it already there is nothing to compare.
"""

import json
import math
import re
import sys
import urllib.parse
import urllib.request
from typing import NamedTuple

LEAST_REQUESTS = 1000
LEAST_COMPARED = 1000
"""Queries."""
MOST_FAILURES = 0.001
"""More of its answers than stable's, as a share."""
MOST_RATIO = 1.5
"""Of the 99th percentiles of time within the application."""
MOST_DIFFERING = 0.05
"""Of the queries that both artifacts scored, those with other labels, as a share."""

ANY = "[0-9a-f]*"
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
PAIR = f'{WHERE},candidate=~"{{model}}"'
COMPARED = f"sum(increase(topiccore_compared_queries_total{{{{{PAIR}}}}}[{{minutes}}m]))"
DIFFERING = (
    f'sum(increase(topiccore_differing_queries_total{{{{{PAIR},of="labels"}}}}[{{minutes}}m]))'
)
NOT_COMPARED = f"sum(increase(topiccore_comparison_failures_total{{{{{PAIR}}}}}[{{minutes}}m]))"
SECOND = (
    f"histogram_quantile(0.99, sum by (le) (rate("
    f'topiccore_comparison_kernel_seconds_bucket{{{{{PAIR},artifact="stable"}}}}[{{minutes}}m])))'
)
ANSWERING = f'sum(topiccore_model_workers{{{{{WHERE},model=~"{{model}}"}}}})'


class Track(NamedTuple):
    """Requests answered, those that failed, and the 99th percentile of their seconds."""

    requests: float
    failed: float
    p99: float


class Comparison(NamedTuple):
    """Queries that both artifacts scored; those with other labels; those on which that failed.

    ``p99`` is the 99th percentile of the seconds that stable's artifact took for one.
    """

    compared: float
    differing: float
    failed: float
    p99: float


def main(arguments: list[str]) -> int:
    """Prints the figures and the verdict."""
    model = arguments[3] if len(arguments) > 3 else ""
    if not 2 <= len(arguments) <= 4 or not re.fullmatch(ANY, model):
        print("usage: python ci/verdict.py PROMETHEUS NAMESPACE [MINUTES [MODEL]]", file=sys.stderr)
        return 2
    base, namespace = arguments[:2]
    minutes = arguments[2] if len(arguments) > 2 else "10"

    def ask(query: str, track: str) -> float:
        names = {"namespace": namespace, "track": track, "minutes": minutes, "model": model + ANY}
        return value(base, query.format(**names))

    tracks = {}
    for name in ("stable", "canary"):
        track = Track(*(ask(query, name) for query in (REQUESTS, FAILURES, SLOWEST)))
        tracks[name] = track
        print(
            f"{name}: {track.requests:.0f} requests, {track.failed:.0f} failed, "
            f"p99 {track.p99:.6f} s"
        )
    comparison = None
    if model and ask(ANSWERING, "stable") > 0:
        print("stable answers with this artifact already: nothing to compare")
    else:
        queries = (COMPARED, DIFFERING, NOT_COMPARED, SECOND)
        comparison = Comparison(*(ask(query, "canary") for query in queries))
        print(
            f"compared: {comparison.compared:.0f} queries, {comparison.differing:.0f} with other "
            f"labels, {comparison.failed:.0f} failed, p99 {comparison.p99:.6f} s"
        )
    problems = judge(tracks["stable"], tracks["canary"], comparison)
    for problem in problems:
        print(f"not to be promoted: {problem}", file=sys.stderr)
    return 1 if problems else 0


def judge(stable: Track, canary: Track, comparison: Comparison | None) -> list[str]:
    """What speaks against the canary; without a comparison both have the same artifact."""
    if not canary.requests >= LEAST_REQUESTS:
        return [f"the canary answered {canary.requests:.0f} requests, fewer than {LEAST_REQUESTS}"]
    problems = []
    allowed = (stable.failed / stable.requests if stable.requests > 0 else 0) + MOST_FAILURES
    if canary.failed / canary.requests > allowed:
        problems.append(f"{canary.failed / canary.requests:.2%} failed, more than {allowed:.2%}")
    expected = stable.p99
    if comparison and comparison.p99 > 0:
        # Within a request of the canary stable's artifact scores, too.
        expected += comparison.p99
    if not math.isnan(stable.p99) and not canary.p99 <= MOST_RATIO * expected:
        problems.append(
            f"its p99 is {canary.p99:.6f} s, more than {MOST_RATIO:g} times {expected:.6f} s"
        )
    return problems + (differences(comparison) if comparison else [])


def differences(comparison: Comparison) -> list[str]:
    """What speaks against the canary's answers."""
    if not comparison.compared >= LEAST_COMPARED:
        return [f"{comparison.compared:.0f} queries were compared, fewer than {LEAST_COMPARED}"]
    problems = []
    if comparison.failed > 0:
        problems.append(f"the comparison of {comparison.failed:.0f} queries failed")
    share = comparison.differing / comparison.compared
    if not share <= MOST_DIFFERING:
        problems.append(f"{share:.2%} of the answers differ, more than {MOST_DIFFERING:.2%}")
    return problems


def value(base: str, query: str) -> float:
    """The one number that a query gives; 0 when it gives none."""
    address = base.rstrip("/") + "/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(address, timeout=30) as response:
        result = json.load(response)["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
