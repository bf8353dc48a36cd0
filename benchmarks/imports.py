"""What it costs to import the package and to ask its command for help, beside importing numpy; one process each.

    python benchmarks/imports.py [--quick]

CPU seconds of whole processes, user and system, median of several; `python -c pass` is the floor that all share.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys

HEAVY = ("altair", "click", "pandas", "polars", "scipy.stats", "statsmodels", "streamlit")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import scaling": [sys.executable, "-c", "import scaling"],
    "scaling.fit and scaling.read_runs at hand": [sys.executable, "-c", "import scaling; scaling.fit; scaling.read_runs"],
    "scaling --help": [sys.executable, "-m", "scaling", "--help"],
}  # fmt: skip


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # the environment of a user who set nothing, but one thread for everyone
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def loaded_by(statement: str) -> list[str]:
    """The heavy libraries that a statement loads."""
    program = f"{statement}; import sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 processes of each instead of 15")
    repeats = 5 if parser.parse_args().quick else 15
    times: dict[str, list[float]] = {}
    for command in COMMANDS.values():
        cpu_seconds(command)  # files into the cache
    for _ in range(repeats):  # in turn, so that a slow moment falls on all of them
        for label, command in COMMANDS.items():
            times.setdefault(label, []).append(cpu_seconds(command))
    numpy = statistics.median(times["import numpy"])
    print("| process | CPU seconds | of import numpy |\n| --- | --- | --- |")
    for label, values in times.items():
        print(f"| {label} | {statistics.median(values):.3f} | {statistics.median(values) / numpy:.2f} |")
    print(f"\nimport scaling loads of {', '.join(HEAVY)}: {', '.join(loaded_by('import scaling')) or 'none'}")


if __name__ == "__main__":
    main()
