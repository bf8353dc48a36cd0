"""What was understood of the logs, in words, and what their design can and cannot tell: `scaling check`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from scaling.logs.schema import COLUMNS, SCALES
from scaling.quantities import format_quantity, quote

_GROUPS = ("dataset", "group", "corpus", "condition", "tokenizer", "split", "eval_set", "data", "model_family", "file")
_FEW_RUNS = 10  # five coefficients and as many again to judge them by


def check_runs(runs: pd.DataFrame) -> list[dict[str, str]]:
    """Warnings about the design of the runs, as [{code, message}]: what no fit can make up for.

    runs : a runs table with one row per run (canonical columns, as read_runs returns it).
    """
    warnings: list[dict[str, str]] = []

    def warn(code: str, message: str) -> None:
        warnings.append({"code": code, "message": message})

    if len(runs) < _FEW_RUNS:
        warn(
            "few_runs",
            f"There {'is' if len(runs) == 1 else 'are'} only {len(runs)} run{'s' if len(runs) != 1 else ''}: a law of three to five coefficients needs {_FEW_RUNS} or more.",
        )
    N, D, C = (_positive(runs, c) for c in SCALES)
    _check_scales(N, D, C, warn)
    _check_loss(runs, warn)
    _check_groups(runs, warn)
    return warnings


def _positive(runs: pd.DataFrame, column: str) -> np.ndarray:
    values = runs[column].to_numpy(dtype=float) if column in runs else np.empty(0)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _spread(values: np.ndarray) -> float:
    """log(largest / smallest), 0 without values."""
    known = values[~np.isnan(values)]
    return float(np.log(known.max() / known.min())) if len(known) else 0.0


def _distinct(values: np.ndarray) -> int:
    """How many different values there are, counting those within 2 % of the first of them as one."""
    logs = np.sort(np.log(values[~np.isnan(values)]))
    count = at = 0
    while at < len(logs):
        count, at = count + 1, int(np.searchsorted(logs, logs[at] + 0.02, side="right"))
    return count


def _check_scales(N: np.ndarray, D: np.ndarray, C: np.ndarray, warn: Any) -> None:
    names = (("sizes", "n_params", N), ("token_counts", "n_tokens", D))
    for code, column, values in names:
        known = int((~np.isnan(values)).sum())
        if known < 2:
            continue
        n_distinct = _distinct(values)
        if n_distinct < 3:
            warn(
                f"few_{code}",
                f"{column} takes only {n_distinct} value{'s' if n_distinct > 1 else ''}: its exponent cannot be told from the floor; three or more are needed.",
            )
        elif _spread(values) < math.log(10):
            warn(
                f"narrow_{code}",
                f"{column} spans a factor of {math.exp(_spread(values)):.2g}, less than ten: its exponent will be poorly determined.",
            )
    if (~np.isnan(C)).sum() >= 2 and _spread(C) < 0.1:
        warn(
            "one_budget",
            f"All runs have one compute budget ({format_quantity(float(np.nanmedian(C)), 'flops')} FLOPs): the best split at this budget can be found, a trend over budgets cannot.",
        )
    if len(N) and len(D):
        ratio = D / N
        if (~np.isnan(ratio)).sum() >= 2 and _spread(ratio) < 0.3 and max(_spread(N), _spread(D)) >= 0.3:
            warn(
                "one_ratio",
                f"All runs have about {float(np.nanmedian(ratio)):.3g} tokens per parameter: the effects of model size and data cannot be told apart.",
            )


def _check_loss(runs: pd.DataFrame, warn: Any) -> None:
    if "loss" not in runs:
        return
    loss = runs["loss"].to_numpy(dtype=float)
    if len(loss) >= 2 and np.ptp(loss) == 0:
        warn("constant_loss", f"Every run has the same loss ({loss[0]:.6g}): there is nothing to fit.")
    scales = [c for c in SCALES if c in runs]
    if scales:
        double = int(runs.duplicated(subset=[*scales, "loss"]).sum())
        if double:
            warn(
                "duplicates",
                f"{double} row{'s repeat' if double > 1 else ' repeats'} another in n_params, n_tokens, flops and loss: counted twice, they make intervals too narrow.",
            )
    if "flops" in runs and len(loss) >= 5 and np.ptp(loss) > 0:
        known = runs["flops"].notna().to_numpy()
        if known.sum() >= 5 and runs["flops"].nunique() > 1:
            ranks = np.corrcoef(runs["flops"][known].rank(), pd.Series(loss[known]).rank())
            if ranks[0, 1] > 0.3:
                warn(
                    "loss_rises",
                    f"The loss rises with compute (rank correlation {ranks[0, 1]:.2f}): the column may be a score, or groups may be mixed.",
                )


def _check_groups(runs: pd.DataFrame, warn: Any) -> None:
    """Losses on different data must not share one fit."""
    for column in runs.columns:
        if str(column).lower() not in _GROUPS or pd.api.types.is_float_dtype(runs[column]):
            continue
        values = runs[column].dropna().unique()
        if 2 <= len(values) <= max(2, len(runs) // 4):
            shown = ", ".join(quote(v, 30) for v in values[:3]) + (", ..." if len(values) > 3 else "")
            warn(
                "several_groups",
                f"Column {quote(column)} has {len(values)} values ({shown}): if their losses are not comparable, fit each with --by {column}.",
            )


def describe_read(runs: pd.DataFrame) -> str:
    """What read_runs understood, as the text of `scaling check`: columns, units, ranges, rows dropped, notes, warnings."""
    read = runs.attrs.get("read")
    if read is None:
        raise ValueError("these runs were not read by read_runs: attrs['read'] is absent")
    files, counts = read["files"], read["n_rows"]
    named = ", ".join(_short(f["name"], 120) for f in files[:3]) + (
        f" and {len(files) - 3} more files" if len(files) > 3 else ""
    )
    n_runs = read["reduced"]["runs"]
    lines = [
        f"{named}: {counts['read']} rows read, {counts['used']} used ({n_runs} run{'s' if n_runs != 1 else ''})",
        "",
    ]
    understood = columns_read(runs)
    rows = [tuple(understood.columns), *understood.itertuples(index=False, name=None)]
    widths = [max(len(r[i]) for r in rows) for i in range(3)]
    lines += ["  " + "  ".join([*(r[i].ljust(widths[i]) for i in range(3)), r[3]]).rstrip() for r in rows]
    others = [str(c) for c in runs if c not in COLUMNS]
    if others:
        lines += [
            "",
            "other columns: "
            + ", ".join(quote(c, 40) for c in others[:10])
            + (f" and {len(others) - 10} more" if len(others) > 10 else ""),
        ]
    reduced = read["reduced"]
    if reduced["final"] and reduced["rows"] > reduced["runs"]:
        lines += [
            "",
            f"training curves: {reduced['rows']} rows of {n_runs} run{'s' if n_runs != 1 else ''}; the last row of each run (by {reduced['by']}) is used",
        ]
    if read["dropped"]:
        lines += ["", "dropped"]
        lines += [
            f"  {d['count']:>6}  {d['reason']}: {', '.join(d['examples'][:3])}{', ...' if d['count'] > 3 else ''}"
            for d in read["dropped"]
        ]
    said = {d["code"] for d in read["dropped"]}
    for title, entries in (
        ("notes", [n for n in read["notes"] if n["code"] not in said]),
        ("design", check_runs(runs)),
    ):
        if entries:
            lines += ["", title, *(f"  {e['code']}: {e['message']}" for e in entries)]
    return "\n".join(lines)


def columns_read(runs: pd.DataFrame) -> pd.DataFrame:
    """What each column of the runs was made of: column, from (a header, with its factor), unit, range; all text."""
    read = runs.attrs["read"]
    rows = []
    for name, column in COLUMNS.items():
        if name not in runs:
            continue
        source = read["mapping"].get(name)
        origin = (
            "-"
            if source is None
            else source["column"]
            + (f" x {format_quantity(source['factor'], 'number')}" if source["factor"] != 1 else "")
        )
        filled = read["filled"].get(name)
        if filled:
            origin = f"computed ({read['flops_accounting']})" + (f" and {origin}" if source else "")
        if name == "run":
            per_file = any(n["code"] == "one_run_per_file" for n in read["notes"])
            count = runs["run"].nunique()
            rows.append(
                (
                    name,
                    origin if source else "the file's name" if per_file else "each row",
                    "",
                    f"{count} name{'s' if count != 1 else ''}",
                )
            )
            continue
        values = runs[name].to_numpy(dtype=float)
        known = values[np.isfinite(values)]
        kind = column.kind if column.kind != "text" else "number"
        span = "no values"
        if len(known):
            low, high = (
                format_quantity(v, kind, digits=4 if kind == "loss" else 3) for v in (known.min(), known.max())
            )
            span = low if low == high else f"{low} to {high}"
        if len(known) < len(values):
            span += f" ({len(values) - len(known)} empty)"
        unit = read["loss_unit"] if name in ("loss",) else column.unit
        rows.append((name, _short(origin), unit, span))
    return pd.DataFrame(rows, columns=["column", "from", "unit", "range"])


def _short(text: str, most: int = 40) -> str:
    """A name without its line breaks and the like, cut to a length."""
    return quote(text, most)[1:-1]
