"""Promotes a version in the model registry and writes whether that changed it, for later jobs.

    python ci/promote.py MODEL FILE [OPTION...]

FILE gets the line PROMOTED=yes, or PROMOTED=no where the channel had the version already.  Options
are those of ``topiccore registry promote``; the registry is the one of TOPICCORE_REGISTRY.
"""

import json
import subprocess
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Returns what ``topiccore registry promote`` returns."""
    if len(arguments) < 2:
        print("usage: python ci/promote.py MODEL FILE [OPTION...]", file=sys.stderr)
        return 2
    model, file, *options = arguments
    done = subprocess.run(
        ["topiccore", "registry", "promote", model, "--json", *options],
        stdout=subprocess.PIPE,
        check=False,
    )
    sys.stdout.write(done.stdout.decode())
    if done.returncode:
        return done.returncode
    changed = "yes" if json.loads(done.stdout)["state"] == "promoted" else "no"
    Path(file).write_text(f"PROMOTED={changed}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
