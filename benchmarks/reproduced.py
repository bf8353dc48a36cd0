"""Published numbers beside the numbers that this package finds in the published runs; writes docs/reproduced.md.

    python benchmarks/reproduced.py [--only NAME ...] [--data FOLDER] [--out FILE | --print]

One function for each data set. It follows the recipe of the data set's README with this package's own functions and
returns rows: a target, what was printed, what came out, and the tolerance with its reason. tests/test_reproduced.py
asserts every row. The data stand beside the checkout in shared/reference-data.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent))  # for targets, wherever this is loaded from

from targets import curves, kempner, laws, optima, schedules, surfaces, tables, tasks
from targets.rows import PAPER, README, Row

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "reference-data"


def nist(folder: Path) -> list[Row]:
    """27 certified regressions from two starts each, by the loop of benchmarks/nist.py."""
    bench = load("nist")
    runs = list(bench.runs(bench.by_scaling, folder / "nist-strd"))
    name = "nist-strd"
    return [
        Row(name, "runs with six digits", 54, sum(r.digits >= 6 for r in runs), "abs", 0, "the best of the README's table has 54", README),
        Row(name, "mean digits", 9.2, float(np.mean([r.digits for r in runs])), "at least", 0, "the best of the README's table has 9.2", README),
        Row(name, "standard errors to four digits", 52, sum(r.digits_se >= 4 for r in runs), "at least", 0, "Lanczos1's are rounding", README),
        Row(name, "wrong and silent", 0, sum(r.digits < 4 and not r.said_failure for r in runs), "abs", 0, "a wrong answer says so", README),
    ]  # fmt: skip


def load(stem: str) -> ModuleType:
    """A script beside this one, as a module."""
    if stem not in sys.modules:
        spec = importlib.util.spec_from_file_location(stem, Path(__file__).with_name(f"{stem}.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[stem] = module  # its dataclass looks its own module up
        spec.loader.exec_module(module)
    return sys.modules[stem]


TARGETS: dict[str, Callable[[Path], list[Row]]] = {
    "chinchilla-epoch": surfaces.chinchilla_epoch,
    "chinchilla-tables": optima.chinchilla_tables,
    "llama3-isoflop": surfaces.llama3_isoflop,
    "marin-isoflop": surfaces.marin_isoflop,
    "porian-isoflop-rw": optima.porian,
    "kempner-four-corpora": kempner.kempner,
    "kempner-four-corpora, all losses": kempner.kempner_all_losses,
    "misfitting": surfaces.misfitting,
    "gadre-overtraining": laws.gadre,
    "vocab-scaling": laws.vocabulary,
    "lr-schedule-curves": schedules.lr_schedules,
    "lr-schedule-curves, fitted": schedules.lr_schedules_fitted,
    "routed-lm": laws.routed,
    "steplaw-hparams": optima.steplaw,
    "openclip-zeroshot": optima.openclip,
    "olmo-ladder": tasks.olmo_ladder,
    "pythia-evals": tasks.pythia,
    "pythia-evals, likelihood": tasks.pythia_likelihood,
    "bnsl-4digit-addition": curves.broken,
    "lcdb-learning-curves": curves.lcdb,
    "double-descent-polynomial": curves.descent_polynomial,
    "double-descent-width": curves.descent_width,
    "grokking-adamw": curves.delays,
    "epoch-notable-models": tables.notable_models,
    "scaling-law-literature-table": tables.literature,
    "nist-strd": nist,
}
#: the longest, seconds each; also asserted by tests that are marked slow or stand elsewhere
SLOW = ("lcdb-learning-curves", "pythia-evals, likelihood", "nist-strd")

#: folders of the reference data without a row, and why
WITHOUT = {
    "log-formats": "examples of log files for the readers",
    "obsscaling-benchmarks": "no law: its README gives shares of variance of a principal component analysis",
    "misfitting, exponent .58419 of N": "its sizes and tokens are no isoFLOP sweep (budgets run on without a gap) and the README has no recipe; "
    "`isoflop` refuses such runs",
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--only", nargs="*", default=None, metavar="NAME", help="these data sets only")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reproduced.md")
    parser.add_argument("--print", action="store_true", help="to the screen instead of the file")
    options = parser.parse_args(arguments)
    found: dict[str, list[Row]] = {}
    for name, target in TARGETS.items():
        if options.only and name not in options.only:
            continue
        clock = time.process_time()
        found[name] = target(options.data)
        good = sum(r.as_stated for r in found[name])
        print(f"{name}: {good} of {len(found[name])} as stated, {time.process_time() - clock:.1f} s", file=sys.stderr)
    page = markdown(found)
    if options.print or options.only:
        print(page)
    else:
        options.out.write_text(page, encoding="utf-8")
    return int(not all(r.as_stated for rows in found.values() for r in rows))


def number(value: float, digits: int = 7) -> str:
    """Short: no trailing zeros, no exponent where none is needed."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.{digits}g}"


def markdown(found: Mapping[str, Sequence[Row]]) -> str:
    """The page: a summary of each data set, then every row."""
    rows = [r for each in found.values() for r in each]
    printed = [r for r in rows if r.origin == PAPER]
    unmet = [r for r in rows if not r.met]
    lines = [
        "# Published numbers, reproduced",
        "",
        "Written by `python benchmarks/reproduced.py`; `tests/test_reproduced.py` asserts every row. Each number under *ours* is computed",
        "from the published runs by this package's own functions, following the recipe in the README of the data set.",
        "",
        f"{len(rows)} targets, {sum(r.met for r in rows)} within their tolerance; {len(printed)} of the targets were printed by the authors "
        "of the data, the rest (marked *README*)",
        "are independent refits with numpy and scipy, in the README of the data set. Differences are relative unless marked *abs*.",
        "",
    ]  # fmt: skip
    if unmet:
        lines += ["Not reproduced:", ""]
        lines += [f"- {r.data}, {r.target}: {number(r.published)} published, {number(r.ours)} here. {r.why[:1].upper()}{r.why[1:]}." for r in unmet]  # fmt: skip
        lines += [""]
    lines += ["Without a row: " + "; ".join(f"`{k}` ({v})" for k, v in WITHOUT.items()) + ".", ""]
    for name, each in found.items():
        lines += [f"## {name}", "", "| target | published | ours | difference | tolerance | why |", "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
        for r in each:
            mark = " (README)" if r.origin == README else ""
            absolute = " abs" if r.how == "abs" or r.published == 0 else ""
            state = "" if r.met else " **not met**"
            limit = f"{r.how} + {r.tolerance:.2g}" if r.how.startswith("at") else f"{r.tolerance:.2g}{absolute}"
            limit = {"at most + 0": "at most", "at least + 0": "at least"}.get(limit, limit)
            if r.how == "abs" and r.tolerance == 0:
                limit = "equal"
            lines.append(f"| {r.target} | {number(r.published, 10)}{mark} | {number(r.ours, 8)} | {r.difference:.1e}{absolute}{state} | {limit} | {r.why} |")  # fmt: skip
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
