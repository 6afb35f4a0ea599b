"""What the main process of every server does beside starting workers."""

from __future__ import annotations

import contextlib
import logging.config
import os
from collections.abc import Iterator
from pathlib import Path

from service import logs
from service.metrics import serve_metrics
from service.options import ServerOptions
from service.settings import Settings, to_environment
from service.shared import FOLDER_VARIABLE, Control, make_folder, remove_folder
from service.tokens import warn_of_readers


@contextlib.contextmanager
def main_process(model: Path, options: ServerOptions, settings: Settings) -> Iterator[Control]:
    """Makes what the workers share, and gives the metrics; raises ``MetricsError``.

    Within it the environment tells workers all that ``service.app.get_app`` needs.
    """
    folder, control = make_folder()
    try:
        os.environ.update(to_environment(model, settings) | {FOLDER_VARIABLE: str(folder)})
        logging.config.dictConfig(logs.configuration(settings.log_format))
        if settings.tokens is not None:
            warn_of_readers(settings.tokens)
        if options.metrics_port is not None:
            serve_metrics(folder, options.metrics_host, options.metrics_port)
        yield control
    finally:
        remove_folder(folder)
