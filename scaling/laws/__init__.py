"""The laws. Adding one is a file beside this one and a line in LAWS."""

from __future__ import annotations

from difflib import get_close_matches

from scaling.errors import LawError
from scaling.laws.chinchilla import CHINCHILLA
from scaling.laws.kaplan import KAPLAN
from scaling.laws.law import Coef, Law
from scaling.laws.power_law import POWER_LAWS

LAWS: dict[str, Law] = {law.name: law for law in (CHINCHILLA, KAPLAN, *POWER_LAWS)}


def get(name: str) -> Law:
    """A law by name; LawError with the nearest names when there is none."""
    if name in LAWS:
        return LAWS[name]
    near = get_close_matches(name, LAWS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(LAWS)}."
    raise LawError(f"no law is called {name!r}; {hint}")


__all__ = ["LAWS", "Coef", "Law", "get"]
