"""Logs as JSON, a line each, written by a thread that requests do not wait for."""

from __future__ import annotations

import json
import logging
import logging.config
import logging.handlers
import queue
import random
import time
from typing import Any

from service.environ import BATCH, LOADED, QUERY, REQUEST_ID
from service.live import LoadedModel
from service.request_id import traceparent
from service.request_meter import ROUTES
from service.settings import Settings

WAITING = 10_000
"""Lines that may wait to be written; more are left out, and their number is told."""
_ROUTES = frozenset(ROUTES)

access = logging.getLogger("service.access")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with the fields that it brings along."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        content: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}"
            f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name.lstrip("_"),
            "pid": record.process,
            "message": record.getMessage(),
        }
        content |= getattr(record, "fields", {})
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content)


class TextFormatter(logging.Formatter):
    """A record for people, with the fields that it brings along."""

    def __init__(self) -> None:
        super().__init__("[%(levelname)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines."""
        fields = " ".join(f"{k}={v}" for k, v in getattr(record, "fields", {}).items())
        return f"{super().format(record)} {fields}".rstrip()


class BoundedQueueHandler(logging.handlers.QueueHandler):
    """Hands records to the writing thread, and never waits for it."""

    def __init__(self) -> None:
        super().__init__(queue.Queue(WAITING))
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """The record as it is: it does not leave the process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Adds the record, or counts it as left out."""
        if self._dropped:
            record.fields = getattr(record, "fields", {}) | {"left_out_before": self._dropped}
        try:
            self.queue.put_nowait(record)
            self._dropped = 0
        except queue.Full:
            self._dropped += 1


def configuration(log_format: str) -> dict[str, Any]:
    """What ``logging.config`` makes the loggers of, in the main process and for the server."""
    formatter = JsonFormatter if log_format == "json" else TextFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"service": {"()": formatter}},
        "handlers": {
            "service": {
                "class": "logging.StreamHandler",
                "formatter": "service",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"handlers": ["service"], "level": "WARNING"},
        "loggers": {
            name: {"handlers": ["service"], "level": "INFO", "propagate": False}
            for name in ("_granian", "gunicorn.error", "service")
        },
    }


def start(settings: Settings) -> None:
    """Sets up the logs of a worker, with the writing thread."""
    # A full disk must not make noise in place of every line that it swallows.
    logging.raiseExceptions = False
    logging.config.dictConfig(configuration(settings.log_format))
    logger = logging.getLogger("service")
    handler = BoundedQueueHandler()
    logging.handlers.QueueListener(handler.queue, *logger.handlers).start()
    logger.handlers[:] = [handler]


class AccessLog:
    """Writes a share of the answers down, and every failure of the server."""

    def __init__(self, share: float, queries: bool):
        self._share = share
        self._queries = queries

    def answered(
        self, environ: dict[str, Any], status: str, nanoseconds: int, kernel: int | None
    ) -> None:
        """Logs an answer, or leaves it out."""
        # A 503 says that there is too much to do already.
        failed = status[0] == "5" and status != "503"
        if not failed and random.random() >= self._share:
            return
        path = environ["PATH_INFO"]
        loaded: LoadedModel = environ[LOADED]
        fields: dict[str, Any] = {
            "request_id": environ[REQUEST_ID],
            "method": environ["REQUEST_METHOD"],
            # Another path may be what a person searched for.
            "route": path if path in _ROUTES else "other",
            "status": int(status),
            "milliseconds": round(nanoseconds / 1e6, 4),
            "model": loaded.model.id,
        }
        if kernel is not None:
            fields["kernel_milliseconds"] = round(kernel / 1e6, 4)
        if (trace := traceparent(environ)) is not None:
            fields["trace_id"] = trace[3:35]
        if BATCH in environ:
            fields["queries"] = environ[BATCH]
        if self._queries and QUERY in environ:
            fields["query"] = environ[QUERY].decode("utf-8", "replace")
        level = logging.ERROR if failed else logging.INFO
        access.log(level, "answered", extra={"fields": fields})
