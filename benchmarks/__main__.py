"""`make bench`: every benchmark, or those that are named: `python -m benchmarks throughput planning`."""

from __future__ import annotations

import importlib
import sys

BENCHMARKS = (
    "startup",
    "planning",
    "orchestration",
    "grid",
    "schedule_simulation",
    "throughput",
    "streaming",
    "mig",
    "frechet",
    "report",
    "ranks",
)


def main(names: list[str]) -> int:
    """Run the named benchmarks, all where none is named; returns the exit code."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; choose from {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        print(f"\n== {name} ==", flush=True)
        importlib.import_module(f"benchmarks.{name}").run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
