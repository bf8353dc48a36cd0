"""Facts about runs that their logs leave out, from a table with one row per run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs.account import Account, count_rows
from scaling.logs.canonical import record, renamed_columns
from scaling.logs.cells import Cells, own_numbers
from scaling.logs.files import read_tables
from scaling.logs.raw_table import named
from scaling.logs.schema import COLUMNS, match_columns, missing_column
from scaling.quantities import quote


def join_meta(runs: pd.DataFrame, meta: Any, account: Account, max_bytes: int) -> None:
    """Fill in columns of `runs` from a table with one row per run, joined on the run's name."""
    for table in read_tables(meta, max_bytes=max_bytes):
        headers = list(table.columns)
        wanted = [c for c in COLUMNS if c not in ("step", "loss", "train_loss")]
        matches = match_columns(headers, file=table.name, duplicated=table.duplicated, wanted=wanted)
        if "run" not in matches:
            raise missing_column("run", headers, file=table.name, why=", on which it is joined")
        own = renamed_columns(table, matches)
        names = [str(v).strip() for v in own.pop("run").tolist()]
        if len(set(names)) < len(names):
            double = next(n for i, n in enumerate(names) if n in names[:i])
            row = table.rows[names.index(double, names.index(double) + 1)]
            raise RunsError(
                f"{named(table.name)}, row {row}: run {quote(double)} occurs more than once; keep one row per run."
            )
        place = {name: i for i, name in enumerate(names)}
        at = np.array([place.get(name, -1) for name in runs["run"]])
        if (at < 0).all():
            raise RunsError(
                f"No run of the logs is in {named(table.name)}: the logs have {quote(runs['run'].iloc[0])}, the table {quote(names[0])}. "
                "Give both the same run names."
            )
        absent = sorted(set(runs["run"][at < 0]))
        if absent:
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            account.note(
                "meta_missing",
                f"{named(table.name)} has no row for run {', '.join(quote(a) for a in absent[:3])}{more}",
            )
        for column, values in own.items():
            if column in matches:
                values = Cells.read(table, matches[column], COLUMNS[column].kind).values
                record(account, column, matches[column], table.name)
            taken = pd.Series(own_numbers(column, values)).reindex(at).to_numpy()
            if column not in runs:
                runs[column] = taken
                continue
            lacking = runs[column].isna().to_numpy()
            differ = int((~lacking & pd.notna(taken) & (runs[column].to_numpy() != taken)).sum())
            if differ:
                account.note(
                    "meta_differs",
                    f"{quote(column)} differs between the logs and {named(table.name)} in {count_rows(differ)}; the logs' was kept",
                )
            runs[column] = np.where(lacking, taken, runs[column].to_numpy())
        account.files.append({"name": table.name, "sha256": table.sha256, "rows": len(table.rows)})
