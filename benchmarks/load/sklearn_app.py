"""A plain Flask application around the scikit-learn pipeline of ``benchmarks.peers``.

``SKLEARN_MODEL`` names the folder of the trained pipeline.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flask import Flask, request

from benchmarks.peers import sklearn_hashing


def get_app() -> Flask:
    model = sklearn_hashing.load(Path(os.environ["SKLEARN_MODEL"]))
    app = Flask(__name__)

    @app.get("/v1/topics")
    def topics() -> dict[str, Any]:
        found = sklearn_hashing.score(model, request.args["q"])
        return {"topics": [{"code": str(label), "score": round(p, 4)} for label, p in found]}

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    return app
