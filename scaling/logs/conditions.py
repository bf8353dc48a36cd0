"""Row filters such as 'loss<5' and 'dataset=web': parsed and compared, never evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from scaling.errors import QuantityError, RunsError
from scaling.logs.schema import COLUMNS, did_you_mean, squash
from scaling.quantities import parse_quantity, quote

_OPERATOR = re.compile(r"<=|>=|==|!=|=|<|>")
_TRUTH = {"true": True, "yes": True, "1": True, "1.0": True, "false": False, "no": False, "0": False, "0.0": False}


def kept_by(condition: str, runs: pd.DataFrame, renamed: Mapping[str, str] | None = None) -> np.ndarray:
    """(rows,) bool: which rows of `runs` meet `condition`, one comparison of a column with a value.

    renamed : the file's own column names -> canonical names, so that either may be used.
    A row without a value meets no comparison, except one of `loss`: a missing or infinite loss is for the reader to
    drop and count under its own reason, not to be filtered out of sight.
    Raises RunsError for a condition that is no comparison, an unknown column, or a value of the wrong kind.
    """
    column, operator, wanted = _split(condition, runs, renamed or {})
    values = runs[column]
    if pd.api.types.is_bool_dtype(values):
        truth = _TRUTH.get(wanted.lower())
        if truth is None or operator not in ("=", "!="):
            raise RunsError(
                f"where {quote(condition)}: column {quote(column)} holds true and false; write {column}=true or {column}=false."
            )
        return np.asarray(values == truth) ^ (operator == "!=")
    if pd.api.types.is_numeric_dtype(values):
        return _compare_numbers(values.to_numpy(dtype=float), operator, wanted, column, condition)
    if operator not in ("=", "!="):
        raise RunsError(f"where {quote(condition)}: column {quote(column)} holds text; use = or !=.")
    same = np.array([isinstance(v, str | bool | int | float) and str(v) == wanted for v in values], dtype=bool)
    return same if operator == "=" else ~same


def _compare_numbers(values: np.ndarray, operator: str, wanted: str, column: str, condition: str) -> np.ndarray:
    kind = COLUMNS[column].kind if column in COLUMNS and COLUMNS[column].kind != "text" else "number"
    try:
        negative = wanted.startswith("-")
        number = parse_quantity(wanted.removeprefix("-"), kind, zero=True) * (-1 if negative else 1)
    except QuantityError as error:
        raise RunsError(f"where {quote(condition)}: {error}") from None
    with np.errstate(invalid="ignore"):
        kept = {
            "<": lambda: values < number,
            "<=": lambda: values <= number,
            ">": lambda: values > number,
            ">=": lambda: values >= number,
            "=": lambda: np.isclose(values, number, rtol=1e-9, atol=0),
            "!=": lambda: ~np.isclose(values, number, rtol=1e-9, atol=0) & ~np.isnan(values),
        }[operator]()
    return kept | ~np.isfinite(values) if column == "loss" else kept


def _split(condition: str, runs: pd.DataFrame, renamed: Mapping[str, str]) -> tuple[str, str, str]:
    """(column, operator, value). A column's name may hold an operator sign itself: the split that names a column wins."""
    if not isinstance(condition, str):
        raise RunsError(f"where {quote(condition)}: a condition is text such as 'loss<5' or 'dataset=web'.")
    splits = [
        (condition[: m.start()].strip(), m[0], condition[m.end() :].strip()) for m in _OPERATOR.finditer(condition)
    ]
    if not splits or not splits[0][0]:
        raise RunsError(
            f"where {quote(condition)} is no comparison; write for example 'loss<5', 'n_params>=70M' or 'dataset=web'."
        )
    for name, operator, value in splits:
        column = _column(name, runs, renamed)
        if column is not None:
            value = value[1:-1] if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"" else value
            return column, "=" if operator == "==" else operator, value
    names = [str(c) for c in runs.columns]
    raise RunsError(
        f"where {quote(condition)}: the runs have no column {quote(splits[0][0])}.{did_you_mean(splits[0][0], [*names, *renamed])} "
        f"They have {', '.join(quote(n) for n in names[:12])}{f' and {len(names) - 12} more' if len(names) > 12 else ''}."
    )


def _column(name: str, runs: pd.DataFrame, renamed: Mapping[str, str]) -> str | None:
    if name in runs:
        return name
    if renamed.get(name) in runs:
        return renamed[name]
    same = [str(c) for c in runs.columns if squash(str(c)) == squash(name)]
    return same[0] if len(same) == 1 else None
