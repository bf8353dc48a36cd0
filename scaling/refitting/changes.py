"""What a store says: the latest fits, what moved since the refit before, and tables for other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import RunsError
from scaling.refitting.store import Store

if TYPE_CHECKING:
    import pandas as pd

GOOD = ("converged",)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table_of(fits: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """One row per coefficient and fit (one row per fit without coefficients): law, group, status, coef, estimate, low, high."""
    import pandas as pd

    rows = []
    for slot, fit in fits.items():
        group = json.dumps(json.loads(slot)["group"], ensure_ascii=False)
        head = {
            "law": fit["law"],
            "group": group,
            "status": fit["status"],
            "message": fit["message"],
            "key": fit["key"],
        }
        coefs = fit["document"].get("coefs") or {None: {}}
        for name, c in coefs.items():
            rows.append({**head, "coef": name, **{k: c.get(k) for k in ("estimate", "low", "high")}})
    columns = ["law", "group", "status", "message", "key", "coef", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def status(store: str | Path) -> pd.DataFrame:
    """Fits of the latest finished refit, counted by law and status."""
    with Store(store) as opened:
        passes = opened.passes()
        table = table_of(opened.fits_of(passes[-1]) if passes else {}).drop_duplicates(["law", "group"])
    return table.groupby(["law", "status"], sort=True).size().rename("fits").reset_index()


def changed(store: str | Path, relative: float = 0.0) -> pd.DataFrame:
    """What differs between the last two finished refits: law, group, what, coef, before, after.

    what : "moved" (the new estimate lies outside the old interval and differs by more than `relative`), "fails",
    "recovers", "new", "gone".
    """
    import pandas as pd

    with Store(store) as opened:
        passes = opened.passes()
        if len(passes) < 2:
            raise RunsError(f"the store {str(store)!r} holds {len(passes)} finished refit(s): a change needs two.")
        before, after = (opened.fits_of(p) for p in passes[-2:])
    rows: list[dict[str, Any]] = []
    for slot in sorted({*before, *after}):
        old, new = before.get(slot), after.get(slot)
        place = json.loads(slot)
        head = {"law": place["law"], "group": json.dumps(place["group"], ensure_ascii=False)}
        if old is None or new is None:
            rows.append({**head, "what": "new" if old is None else "gone"})
            continue
        was, works = old["status"] in GOOD, new["status"] in GOOD
        if was != works:
            rows.append({**head, "what": "recovers" if works else "fails"})
        elif works and old["key"] != new["key"]:
            for name, a in old["document"]["coefs"].items():
                b = new["document"]["coefs"].get(name, {})
                if None in (a["low"], a["high"], b.get("estimate")):
                    continue
                outside = not a["low"] <= b["estimate"] <= a["high"]
                if outside and abs(b["estimate"] - a["estimate"]) > relative * abs(a["estimate"]):
                    rows.append(
                        {**head, "what": "moved", "coef": name, "before": a["estimate"], "after": b["estimate"]}
                    )
    return pd.DataFrame(rows, columns=["law", "group", "what", "coef", "before", "after"])


def export(store: str | Path, path: str | Path) -> Path:
    """Write the latest finished refit to a .csv (cells that a spreadsheet would run as formulas are quoted) or .parquet."""
    target = Path(path)
    with Store(store) as opened:
        passes = opened.passes()
        table = table_of(opened.fits_of(passes[-1]) if passes else {})
    if target.suffix == ".parquet":
        table.to_parquet(target, index=False)
    elif target.suffix == ".csv":
        for name in ("law", "group", "status", "message", "coef"):
            table[name] = [f"'{v}" if isinstance(v, str) and v.startswith(_FORMULA) else v for v in table[name]]
        table.to_csv(target, index=False)
    else:
        raise RunsError(f"cannot tell the format of {target.name!r}: end the name in .csv or .parquet.")
    return target
