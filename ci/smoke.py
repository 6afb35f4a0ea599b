"""Asks a deployed service a few queries, and whether it has the artifact that it should have.

    python ci/smoke.py ADDRESS [MODEL]

Needs nothing but Python.  MODEL is an artifact's id, or its beginning.
"""

import json
import sys
import time
import urllib.error
import urllib.request

QUERIES = ["used honda civic dallas", "chicken enchilada recipe", "cheap flights to cancun"]
SECONDS = 60
"""How long a new artifact may take to be what answers."""


def main(arguments: list[str]) -> int:
    """Returns 0 when all is well, 1 when not, 2 for wrong arguments."""
    if len(arguments) not in (1, 2):
        print("usage: python ci/smoke.py ADDRESS [MODEL]", file=sys.stderr)
        return 2
    base = arguments[0].rstrip("/")
    wanted = arguments[1] if len(arguments) == 2 else ""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            problem = check(base, wanted)
        except (OSError, ValueError, KeyError) as error:
            problem = f"{base}: {error!r}"
        if not problem:
            print(f"{base} answers")
            return 0
        if time.monotonic() > deadline:
            print(problem, file=sys.stderr)
            return 1
        time.sleep(1)


def check(base: str, wanted: str) -> str:
    """What is wrong, or nothing."""
    model = ask(f"{base}/v1/model")["id"]
    if not model.startswith(wanted):
        return f"{base} answers with artifact {model[:12]}, not {wanted[:12]}"
    answer = ask(f"{base}/v1/topics:batch", {"queries": QUERIES})
    if len(answer["results"]) != len(QUERIES):
        return f"{base} gave {len(answer['results'])} answers to {len(QUERIES)} queries"
    for query in QUERIES:
        ask(f"{base}/v1/topics", {"query": query})
    return ""


def ask(address: str, body: object = None) -> dict:
    """The JSON of an answer; raises ``OSError`` for any status but 200."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
