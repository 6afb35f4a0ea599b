"""Pushes a run to the model registry and writes the version as a variable for later jobs.

    python ci/push.py RUN FILE

FILE gets the line MODEL=ID.  The registry is the one of TOPICCORE_REGISTRY.
"""

import json
import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Returns what ``topiccore registry push`` returns."""
    if len(arguments) != 2:
        print("usage: python ci/push.py RUN FILE", file=sys.stderr)
        return 2
    run, file = arguments
    done = subprocess.run(
        ["topiccore", "registry", "push", run, "--json"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        return done.returncode
    Path(file).write_text(f"MODEL={json.loads(done.stdout)['id']}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
