"""The description of the service in OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

import topiccore
from service.encoding import encode
from service.settings import Settings

_SCORE = {"type": "number", "minimum": 0, "maximum": 1}
_ID = {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "Id of the artifact."}


def describe(settings: Settings) -> bytes:
    """The document as JSON, with the limits of these settings."""
    return encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "topiccore",
                "version": topiccore.__version__,
                "summary": "Tells which topics a search query is about.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "security": [{}, {"bearer": []}],
            "paths": {
                "/v1/topics": {"get": _get(settings), "post": _post(settings)},
                "/v1/topics:batch": {"post": _batch(settings)},
                "/v1/model": {
                    "get": _operation("getModel", "Which model answers.", _ref("Model"), {})
                },
                "/v1/taxonomy": {
                    "get": _operation("getTaxonomy", "Every label.", _ref("Taxonomy"), {})
                },
                "/v1/stats": {
                    "get": _operation(
                        "getStats",
                        "How much the server does; every count is since its start.",
                        _ref("Stats"),
                        {"404": "The server keeps no counts."},
                    )
                },
                "/v1/comparison": {
                    "get": _operation(
                        "getComparison",
                        "How often the second artifact answers differently.",
                        _ref("Comparison"),
                        {},
                    )
                },
                "/openapi.json": {
                    "get": _operation("getDescription", "This document.", {"type": "object"}, {})
                },
                "/healthz": {
                    "get": _operation("isAlive", "The process lives.", _status("ok"), {})
                    | {"security": []}
                },
                "/readyz": {
                    "get": _operation(
                        "isReady",
                        "The model answers.",
                        _status("ready"),
                        {"503": "The model does not answer."},
                    )
                    | {"security": []}
                },
            },
            "components": {
                "schemas": _schemas(),
                "headers": _headers(),
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _operation(
    name: str, summary: str, schema: dict[str, Any], errors: dict[str, str]
) -> dict[str, Any]:
    def answer(description: str, kind: str, content: dict[str, Any]) -> dict[str, Any]:
        return {
            "description": description,
            "headers": {
                header: {"$ref": f"#/components/headers/{header}"} for header in _headers()
            },
            "content": {kind: {"schema": content}},
        }

    problem = "application/problem+json"
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": answer("The answer.", "application/json", schema)}
        | {code: answer(text, problem, _ref("Problem")) for code, text in errors.items()}
        | {"default": answer("Any other error.", problem, _ref("Problem"))},
    }


def _get(settings: Settings) -> dict[str, Any]:
    def parameter(name: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"name": name, "in": "query", "schema": schema} | more

    options = _options()
    options["max_labels"] = options["max_labels"] | {"maximum": 10**18 - 1}
    canary = {
        "name": "X-Topiccore-Canary",
        "in": "header",
        "schema": {"type": "string", "examples": ["always", "never"]},
        "description": "always: the canary answers, if there is one; never: it does not.",
    }
    return _operation(
        "getTopics",
        "The topics of one query, best first.",
        _ref("Answer"),
        {"400": "A parameter is at fault.", "413": "The query is too long."},
    ) | {
        "parameters": [
            parameter("q", _query(settings), required=True),
            *(parameter(name, schema) for name, schema in options.items()),
            canary,
        ]
    }


def _post(settings: Settings) -> dict[str, Any]:
    return _operation(
        "postTopics",
        "The topics of one query, best first.",
        _ref("Answer"),
        _body_errors(f"The query or the body (of {settings.max_body_bytes} bytes) is too long."),
    ) | {"requestBody": _body({"query": _query(settings)})}


def _batch(settings: Settings) -> dict[str, Any]:
    queries = {
        "type": "array",
        "items": _query(settings),
        "description": f"At most {settings.max_batch_queries}; with explain at most "
        f"{settings.max_explained}.",
    }
    return _operation(
        "postTopicsBatch",
        "The topics of many queries, one result each, in order.",
        _ref("BatchAnswer"),
        _body_errors(
            f"A query, the batch or the body (of {settings.max_batch_bytes} bytes) is too long."
        ),
    ) | {"requestBody": _body({"queries": queries})}


def _body_errors(too_long: str) -> dict[str, str]:
    return {
        "400": "The body or a field of it is at fault.",
        "408": "The body took too long.",
        "411": "The body needs a Content-Length.",
        "413": too_long,
        "415": "The body is not JSON in UTF-8, or is compressed.",
        "501": "The transfer coding is unknown.",
        "503": "The server is busy; Retry-After tells when to ask again.",
    }


def _body(first: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": first | _options(),
        "required": list(first),
        "additionalProperties": False,
    }
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _query(settings: Settings) -> dict[str, Any]:
    return {
        "type": "string",
        "description": f"The query, at most {settings.max_query_bytes} bytes of UTF-8.",
        "examples": ["used honda civic dallas"],
    }


def _options() -> dict[str, dict[str, Any]]:
    return {
        "min_score": _SCORE
        | {"description": "Labels of at least this score, not those of the model's thresholds."},
        "max_labels": {
            "type": "integer",
            "minimum": 0,
            "description": "Only so many of the best labels.",
        },
        "topics_only": {"type": "boolean", "description": "Leave out the subtopics."},
        "explain": {"type": "boolean", "description": "Tell for each label why it has its score."},
    }


def _headers() -> dict[str, Any]:
    return {
        "X-Topiccore-Model": {"schema": _ID, "description": "The artifact that gave the answer."},
        "X-Request-Id": {
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
            "description": "The caller's id if it sent a well-formed one, else a new one.",
        },
    }


def _schemas() -> dict[str, Any]:
    number, text, whole = {"type": "number"}, {"type": "string"}, {"type": "integer", "minimum": 0}

    def share(name: str) -> dict[str, Any]:
        return {"type": "array", "items": _object({name: text, "share": number})}

    threshold = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
    explanation = _object(
        {
            "logit": number | {"description": "bias plus all shares"},
            "context_logit": number | {"description": "logit plus all shares of context"},
            "threshold": {"type": ["number", "null"], "description": "null: never emitted"},
            "threshold_score": threshold | {"description": "the threshold as a score"},
            "bias": number,
            "shares": share("text"),
            "context": share("kind"),
            "unknown": {"type": "array", "items": text},
        }
    )
    label = {"code": text, "name": text}
    emitted = _object(label | {"score": _SCORE}, {"explanation": explanation})
    result = {
        "topics": {"type": "array", "items": emitted},
        "truncated": {"type": "boolean", "description": "Only the first tokens were scored."},
    }
    reached = threshold | {
        "description": "The score from which it is emitted as a query's best topic; null: never."
    }
    scope = label | {"scope": text, "threshold": reached}
    topic = _object(scope | {"subtopics": {"type": "array", "items": _object(scope)}})
    return {
        "Answer": _object(result | {"model": _ID}),
        "BatchAnswer": _object(
            {"results": {"type": "array", "items": _object(result)}, "model": _ID}
        ),
        "Model": _object(
            {
                "id": _ID,
                "labels": whole,
                "topics": whole,
                "format_version": whole,
                "scheme": text,
                "encoding": text,
                "training": {"type": "object"},
                "data": {"type": "object"},
                "topiccore_version": text,
            }
        ),
        "Taxonomy": _object({"topics": {"type": "array", "items": topic}, "model": _ID}),
        "Stats": _stats(number, whole),
        "Comparison": _comparison(),
        "Problem": _object(
            {"type": text, "title": text, "status": whole, "detail": text},
            {"field": text | {"description": "The parameter at fault."}, "request_id": text},
        ),
    }


def _comparison() -> dict[str, Any]:
    whole = {"type": "integer", "minimum": 0}
    rate = _object(
        {
            "count": whole,
            "share": _SCORE | {"type": ["number", "null"]},
            "low": _SCORE | {"description": "Wilson's interval of 95 % begins here,"},
            "high": _SCORE | {"description": "and ends here."},
        }
    )
    time = {"type": ["number", "null"], "minimum": 0}
    times = _object({"mean": time, "p50": time, "p99": time})
    label = _object(
        {
            "code": {"type": "string"},
            "name": {"type": "string"},
            "topic": {"type": ["string", "null"]},
            "known_to": {"type": "array", "items": {"enum": ["stable", "candidate"]}},
            "both": whole,
            "stable_only": whole,
            "candidate_only": whole,
            "differing": rate,
        }
    )
    return _object(
        {
            "stable": _ID,
            "candidate": _ID | {"type": ["string", "null"]},
            "mode": {"enum": ["canary", "shadow", None]},
            "share": _SCORE | {"type": ["number", "null"]},
            "workers": whole | {"description": "Workers that compare these two."},
            "compared": whole | {"description": "Queries that both have scored."},
            "failures": whole,
            "differing": rate,
            "differing_best": rate,
            "kernel_microseconds": _object({"stable": times, "candidate": times}),
            "labels": {"type": "array", "items": label},
        }
    )


def _stats(number: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    histogram = _object(
        {
            "bounds": {"type": "array", "items": number, "description": "upper ends, in seconds"},
            "counts": {"type": "array", "items": whole, "description": "one more than bounds"},
            "sum": number | {"description": "in seconds"},
        }
    )
    return _object(
        {
            "time": number | {"description": "when it was counted: seconds since 1970"},
            "workers": whole,
            "model": {"type": ["string", "null"], "description": "id that most workers answer by"},
            "requests": _object({"total": whole, "refused": whole, "failed": whole})
            | {
                "description": "of /v1/topics and /v1/topics:batch; refused: 503, "
                "failed: any other 5xx but 501"
            },
            "request_seconds": histogram | {"description": "time within the application"},
            "kernel_seconds": histogram | {"description": "the model's part of it"},
            "answers": _object(
                {"queries": whole, "covered": whole, "tokens": whole, "unknown_tokens": whole}
            )
            | {"description": "of that model, by its own thresholds"},
            "expected": _object({}, {"coverage": _SCORE, "unknown_tokens": _SCORE})
            | {"description": "shares of queries and of tokens in training"},
        }
    )


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def _status(word: str) -> dict[str, Any]:
    return _object({"status": {"const": word}})


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
