"""Writes deploy/monitoring/dashboard.json, a dashboard for Grafana 10 and newer.

    python tools/make_dashboard.py

The panels are a list here, so that a query is changed in one place and JSON is never edited.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PLACE = Path(__file__).resolve().parent.parent / "deploy/monitoring/dashboard.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH = 24
V1 = 'route=~"/v1/.*"'
METRIC = re.compile(r"\b(topiccore_[a-z_]+)(\{)?")
NAMESPACES = "label_values(topiccore_workers, namespace)"
ROWS: list[tuple[str, list[tuple[str, str, list[tuple[str, str]]]]]] = [
    (
        "Requests",
        [
            (
                "Requests",
                "reqps",
                [
                    (
                        "sum by (track, status) "
                        "(rate(topiccore_http_requests_total[$__rate_interval]))",
                        "{{track}} {{status}}",
                    )
                ],
            ),
            (
                "Failures and refusals",
                "percentunit",
                [
                    (
                        "(sum(rate(topiccore_http_requests_total"
                        '{status=~"5..", status!~"501|503"}[$__rate_interval])) or vector(0)) / '
                        f"sum(rate(topiccore_http_requests_total{{{V1}}}[$__rate_interval]))",
                        "failures",
                    ),
                    (
                        "sum by (reason) (rate(topiccore_rejected_requests_total"
                        "[$__rate_interval])) / ignoring (reason) group_left "
                        f"sum(rate(topiccore_http_requests_total{{{V1}}}[$__rate_interval]))",
                        "refused: {{reason}}",
                    ),
                ],
            ),
            (
                "Time within the application",
                "s",
                [
                    (
                        f"histogram_quantile({q}, sum by (le, route) (rate("
                        f"topiccore_http_request_seconds_bucket{{{V1}}}[$__rate_interval])))",
                        f"p{name} {{{{route}}}}",
                    )
                    for q, name in ((0.5, "50"), (0.99, "99"))
                ],
            ),
            (
                "The model's part",
                "s",
                [
                    (
                        f"histogram_quantile({q}, sum by (le) "
                        "(rate(topiccore_kernel_seconds_bucket[$__rate_interval])))",
                        f"p{name}",
                    )
                    for q, name in ((0.5, "50"), (0.99, "99"))
                ],
            ),
        ],
    ),
    (
        "Processes and artifacts",
        [
            (
                "Workers by artifact",
                "short",
                [("sum by (track, model) (topiccore_model_workers)", "{{track}} {{model}}")],
            ),
            (
                "Workers",
                "short",
                [
                    ("sum by (track) (topiccore_workers)", "{{track}} run"),
                    (
                        "sum by (track) (increase(topiccore_lost_workers_total[$__rate_interval]))",
                        "{{track}} lost",
                    ),
                ],
            ),
            (
                "New artifacts",
                "short",
                [
                    (
                        "sum by (result) (increase(topiccore_reloads_total[$__rate_interval]))",
                        "{{result}}",
                    )
                ],
            ),
            ("Version", "short", [("count by (version) (topiccore_build_info)", "{{version}}")]),
        ],
    ),
    (
        "Answers, beside training",
        [
            (
                "Coverage",
                "percentunit",
                [
                    ("avg by (track) (topiccore_coverage_ratio)", "{{track}}"),
                    ("avg(topiccore_expected_coverage_ratio)", "training"),
                ],
            ),
            (
                "Unknown tokens",
                "percentunit",
                [
                    ("avg by (track) (topiccore_unknown_tokens_ratio)", "{{track}}"),
                    ("avg(topiccore_expected_unknown_tokens_ratio)", "training"),
                ],
            ),
            (
                "Drift from training",
                "short",
                [("max by (of) (topiccore_drift_distance)", "{{of}}")],
            ),
            (
                "Labels that moved most",
                "percentunit",
                [
                    (
                        "topk(10, abs(avg by (label) (topiccore_label_share_ratio) - "
                        "avg by (label) (topiccore_expected_label_share_ratio)))",
                        "{{label}}",
                    )
                ],
            ),
            (
                "Queries, and those cut",
                "reqps",
                [
                    ("sum(rate(topiccore_queries_total[$__rate_interval]))", "queries"),
                    ("sum(rate(topiccore_truncated_queries_total[$__rate_interval]))", "cut"),
                ],
            ),
            (
                "Labels emitted most",
                "reqps",
                [
                    (
                        "topk(10, sum by (label) "
                        "(rate(topiccore_emitted_labels_total[$__rate_interval])))",
                        "{{label}}",
                    )
                ],
            ),
        ],
    ),
    (
        "Candidate",
        [
            (
                "Queries that differ",
                "percentunit",
                [
                    (
                        "sum by (of) (rate(topiccore_differing_queries_total[$__rate_interval])) "
                        "/ ignoring (of) group_left "
                        "sum(rate(topiccore_compared_queries_total[$__rate_interval]))",
                        "{{of}}",
                    )
                ],
            ),
            (
                "Labels that differ most",
                "reqps",
                [
                    (
                        "topk(10, sum by (label) (rate(topiccore_compared_labels_total"
                        '{emitted_by!="both"}[$__rate_interval])))',
                        "{{label}}",
                    )
                ],
            ),
            (
                "Time a query",
                "s",
                [
                    (
                        "histogram_quantile(0.5, sum by (le, artifact) "
                        "(rate(topiccore_comparison_kernel_seconds_bucket[$__rate_interval])))",
                        "{{artifact}}",
                    )
                ],
            ),
            (
                "Comparing workers, failures",
                "short",
                [
                    ("sum(topiccore_comparing_workers)", "workers"),
                    (
                        "sum(increase(topiccore_comparison_failures_total[$__rate_interval]))",
                        "failures",
                    ),
                ],
            ),
        ],
    ),
]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(
            {
                "type": "row",
                "title": title,
                "id": len(panels) + 1,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1},
            }
        )
        top += 1
        width = 12 if len(row) == 4 else 8
        for place, (name, unit, queries) in enumerate(row):
            x = place * width % WIDTH
            if place and not x:
                top += 8
            panels.append(_panel(len(panels) + 1, name, unit, queries, x, top, width))
        top += 8
    return {
        "title": "topiccore",
        "uid": "topiccore",
        "tags": ["topiccore"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": ""},
                {
                    "name": "namespace",
                    "type": "query",
                    "label": "namespace",
                    "datasource": SOURCE,
                    "query": {"query": NAMESPACES, "refId": "namespaces"},
                    "definition": NAMESPACES,
                    "refresh": 2,
                    "sort": 1,
                    "current": {"text": "topiccore", "value": "topiccore"},
                },
            ]
        },
        "panels": panels,
    }


def within(query: str) -> str:
    """A query that asks for the chosen namespace alone."""

    def chosen(found: re.Match[str]) -> str:
        rest = "," if found[2] else "}"
        return f'{found[1]}{{namespace="$namespace"{rest}'

    return METRIC.sub(chosen, query)


def _panel(
    number: int, title: str, unit: str, queries: list[tuple[str, str]], x: int, y: int, width: int
) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": title,
        "id": number,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": width, "h": 8},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(65 + i),
                "datasource": SOURCE,
                "expr": within(query),
                "legendFormat": legend,
            }
            for i, (query, legend) in enumerate(queries)
        ],
    }


if __name__ == "__main__":
    PLACE.write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
