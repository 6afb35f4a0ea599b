"""OpenTelemetry traces: a span for each request, where an exporter is set.

The standard variables ``OTEL_...`` say where spans go and which are sampled.  A span tells route,
status and artifact, and nothing of the query.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from service.environ import KERNEL_NS, LOADED, REQUEST_ID
from service.gate import WsgiApp
from service.request_meter import ROUTES
from topiccore import TopiccoreError

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_ROUTES = frozenset(ROUTES)


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment names a place for spans."""
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not off and any(environment.get(name) for name in _ENDPOINTS)


def exporting(app: WsgiApp) -> WsgiApp:
    """The application with spans, sent in batches by a thread; raises ``TopiccoreError``."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise TopiccoreError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error.name} is not installed; "
            "pip install 'topiccore[otel]'"
        ) from error
    # OTEL_SERVICE_NAME, where it is set, takes precedence.
    provider = TracerProvider(resource=Resource.create({"service.name": "topiccore"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return traced(app, provider)


def traced(app: WsgiApp, provider: Any) -> WsgiApp:
    """The application with a span of a tracer of ``provider`` around each request."""
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    tracer = provider.get_tracer("topiccore")
    propagator = TraceContextTextMapPropagator()

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        route = path if path in _ROUTES else "other"
        carrier = {
            name: environ[key]
            for name, key in (
                ("traceparent", "HTTP_TRACEPARENT"),
                ("tracestate", "HTTP_TRACESTATE"),
            )
            if key in environ
        }
        with tracer.start_as_current_span(
            f"{method} {route}", propagator.extract(carrier), SpanKind.SERVER
        ) as span:

            def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                span.set_attribute("http.response.status_code", int(status[:3]))
                if status[0] == "5":
                    span.set_status(StatusCode.ERROR)
                return start_response(status, headers, exc_info)

            body = app(environ, start)
            span.set_attributes(
                {
                    "http.request.method": method,
                    "http.route": route,
                    "topiccore.model": environ[LOADED].model.id,
                    "topiccore.request_id": environ[REQUEST_ID],
                }
            )
            if KERNEL_NS in environ:
                span.set_attribute("topiccore.kernel_ns", environ[KERNEL_NS])
            return body

    return call
