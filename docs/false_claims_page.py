"""Write the measured rates into docs/false_claims.md: python docs/false_claims_page.py CURVES.csv EMERGENCE.csv

The files are those that benchmarks/false_claims_curves.py and benchmarks/false_claims_emergence.py write with --csv.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd

PAGE = Path(__file__).resolve().parent / "false_claims.md"


def curves_table(table: pd.DataFrame) -> str:
    """Markdown of the rates of the double-descent and grokking analyses."""
    lines = ["| analysis | truth | it is there | simulations | claimed |", "|---|---|---|---|---|"]
    for r in table.to_dict("records"):
        share = f"{r['share']:.1%}" + ("" if r["judged"] else " (not judged)")
        lines.append(f"| {r['analysis']} | {r['truth']} | {'yes' if r['there'] else 'no'} | {r['n']} | {share} |")
    return "\n".join(lines)


def emergence_table(table: pd.DataFrame) -> str:
    """Markdown of the rates of the emergence analysis."""
    lines = [
        "| truth | kind | items | simulations | called sudden | called gradual | corner |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in table.to_dict("records"):
        rates = " | ".join(f"{r[c]:.1%}" for c in ("sudden", "gradual", "corner"))
        lines.append(f"| {r['truth']} | {r['kind']} | {r['items']} | {r['simulations']} | {rates} |")
    return "\n".join(lines)


def written(page: str, name: str, table: str) -> str:
    """The page with the table between its two markers."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{PAGE.name} has no markers for {name!r}.")
    return pattern.sub(lambda m: f"{m[1]}{table}\n{m[2]}", page)


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    text = written(text, "curves", curves_table(pd.read_csv(sys.argv[1])))
    text = written(text, "emergence", emergence_table(pd.read_csv(sys.argv[2], keep_default_na=False)))
    PAGE.write_text(text, encoding="utf-8")
