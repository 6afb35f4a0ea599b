"""A Falcon application that does nothing: the same bytes for every query.

``CONSTANT_BODY`` names the file with the body.  What the service's server gives for this is the
most it could give for the service.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import falcon


class ConstantResource:
    def __init__(self, body: bytes):
        self._body = body

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        resp.data = self._body


def get_app() -> falcon.App[Any, Any]:
    app: falcon.App[Any, Any] = falcon.App()
    resource = ConstantResource(Path(os.environ["CONSTANT_BODY"]).read_bytes())
    app.add_route("/v1/topics", resource)
    app.add_route("/readyz", resource)
    return app
