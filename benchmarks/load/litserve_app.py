"""LitServe around the artifact that the service serves; run by a Python that has litserve.

python -m benchmarks.load.litserve_app MODEL PORT WORKERS
"""

from __future__ import annotations

import sys
from typing import Any

import litserve

import topiccore


class TopicsAPI(litserve.LitAPI):
    """Body in, labels out, as LitServe's own examples have it."""

    def __init__(self, path: str):
        super().__init__(api_path="/v1/topics")
        self._path = path
        # Encoded in another process than scored.
        self._id = topiccore.load(path).id

    def setup(self, device: str) -> None:
        self._model = topiccore.load(self._path)

    # No annotation: LitServe would read it as a schema of the body.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return str(request["query"])

    def predict(self, query: str) -> topiccore.Answer:
        return self._model.score(query)

    def encode_response(self, answer: topiccore.Answer) -> dict[str, Any]:
        return {
            "topics": [
                {"code": label.code, "name": label.name, "score": round(label.score, 4)}
                for label in answer
            ],
            "truncated": answer.truncated,
            "model": self._id,
        }


def main() -> None:
    path, port, workers = sys.argv[1:]
    server = litserve.LitServer(TopicsAPI(path), accelerator="cpu", workers_per_device=int(workers))
    server.run(host="127.0.0.1", port=int(port), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
