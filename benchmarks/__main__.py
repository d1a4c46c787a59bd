"""Run all benchmarks, or the named ones: `python -m benchmarks [--json] [hooks ...]`.

Each runs in a process of its own, one after the other, so none finds what another has imported.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

BENCHMARKS = ("imports", "start", "hooks", "request", "checklifespan", "recording", "probe")

LARGE = ("history", "first_request")
"""They run only if they are named: they need minutes, and ``history`` some GB of disk space."""


def main() -> int:
    """Run the benchmarks. Return 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*BENCHMARKS, *LARGE)))
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    options = parser.parse_args()
    if unknown := set(options.names) - {*BENCHMARKS, *LARGE}:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")

    failed = False
    collected = []
    for name in options.names or BENCHMARKS:
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if options.json:
            run = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, check=False)
            if run.returncode == 0:
                collected.append(json.loads(run.stdout))
        else:
            run = subprocess.run(command, check=False)
        failed = failed or run.returncode != 0
    if options.json:
        print(json.dumps(collected, indent=2))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
