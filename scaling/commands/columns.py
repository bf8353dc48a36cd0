"""Columns named by options: a missing one is refused by its option, and a sentence of the library speaks of options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scaling.errors import RunsError, ScalingError

if TYPE_CHECKING:
    import pandas as pd

LONGEST_LIST = 12


def check_columns(
    table: pd.DataFrame, named: Mapping[str, str | None], better: Mapping[str, list[str]] | None = None
) -> None:
    """Refuse columns that the table lacks.

    Parameters
    ----------
    named : {option: column}, such as {"--score": "accuracy"}; None where the option was not given.
    better : {option: columns of the table that could be meant}, for options that only some columns can serve.

    Raises RunsError that names the option, a column spelled alike, and what the table has.
    """
    from scaling.logs.schema import did_you_mean
    from scaling.quantities import quote

    columns = [str(c) for c in table.columns]
    for option, column in named.items():
        if column is None or column in table:
            continue
        text = f"{option}: column {quote(column)} is not in the table.{did_you_mean(column, columns)}"
        if candidates := (better or {}).get(option):
            text += f" {choose(option, candidates)}"
        more = f" and {len(columns) - LONGEST_LIST} more" if len(columns) > LONGEST_LIST else ""
        raise RunsError(f"{text} The table has {', '.join(columns[:LONGEST_LIST])}{more}.")


def choose(option: str, columns: list[str]) -> str:
    """'Choose one with --score exact_match or --score per_digit.'; empty without columns."""
    named = [f"{option} {_shell(c)}" for c in columns[:LONGEST_LIST]]
    if not named:
        return ""
    return f"Choose {'it' if len(named) == 1 else 'one'} with {listed(named)}."


def listed(words: list[str]) -> str:
    """'a', 'a or b', 'a, b or c'."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def shares(table: pd.DataFrame) -> list[str]:
    """Columns of shares in [0, 1]: numbers that differ and are not all whole, as seeds and flags are."""
    numbers = table.select_dtypes("number")
    return [
        str(c)
        for c in numbers
        if (v := numbers[c].dropna()).between(0, 1).all() and (v % 1 != 0).any() and v.nunique() > 1
    ]


def several_values(table: pd.DataFrame, least: int) -> list[str]:
    """Columns of positive numbers with at least `least` different values, the whole numbers (sizes, steps) only."""
    numbers = table.select_dtypes("number")
    return [str(c) for c in numbers if (v := numbers[c]).nunique() >= least and ((v > 0) & (v % 1 == 0)).all()]


@contextmanager
def in_options(spelled: Mapping[str, str], hints: Mapping[str, str] | None = None) -> Iterator[None]:
    """Errors of a library call, in the words of the command.

    spelled : {what a sentence says: what the command says instead}, such as {"axis=": "--axis"}.
    hints : {part of a sentence: the sentence added after it}, the way out that only the command knows.
    """
    try:
        yield
    except ScalingError as error:
        text = str(error)
        added = [hint for part, hint in (hints or {}).items() if hint and part in text]
        for said, here in spelled.items():
            text = text.replace(said, here)
        raise type(error)(" ".join([text, *added])) from error


def _shell(column: str) -> str:
    from shlex import quote

    return quote(column)
