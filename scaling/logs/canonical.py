"""One file: its columns under canonical names, as numbers in canonical units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from scaling.errors import RunsError
from scaling.logs import curves
from scaling.logs.account import Account
from scaling.logs.cells import NOT_FINITE, TEXT, Cells, own_numbers
from scaling.logs.raw_table import RawTable, named
from scaling.logs.schema import COLUMNS, Match, loss_unit_of, match_columns, missing_column, squash
from scaling.quantities import format_quantity, quote

Columns = dict[str, np.ndarray]
_TRAINING_LOSS = {squash(a) for a in COLUMNS["loss"].aliases[-1]}


def canonical_columns(
    table: RawTable,
    account: Account,
    columns: dict[str, str],
    loss_unit: str | None,
    target: str,
    bytes_per_token: float | None,
) -> tuple[Columns, str]:
    """The columns under canonical names and as numbers, plus _file, _row, _state (why the target is no number) and
    _logged (its text); and the unit of the loss."""
    table = curves.unfold_wide(table) or table
    headers = list(table.columns)
    for code, message in table.notes:
        account.note(code, message)
    for reason, row in table.dropped:
        account.drop("cut_off", reason, 1, [f"row {row} of {named(table.name)}"], warn=True)
    wanted = [c for c in COLUMNS if c != "loss" or target == "loss"]
    if target not in COLUMNS and target not in columns:
        columns[target] = _own_column(target, headers, table.name)
    matches = match_columns(headers, columns, file=table.name, duplicated=table.duplicated, wanted=wanted)
    if target not in matches:
        raise missing_column(target, headers, file=table.name)
    unit = "other"
    if target == "loss":
        told = bytes_per_token is not None and loss_unit == "nats"
        unit = _unit_of_loss(matches[target], None if told else loss_unit, target in columns, table.name)
    out = renamed_columns(table, matches)
    n = len(table.rows)
    for canonical, match in matches.items():
        if canonical == "run":
            continue
        cells = Cells.read(table, match, COLUMNS[canonical].kind if canonical in COLUMNS else "number")
        if canonical == target:
            _require_numbers(cells, match, target, table.name)
            out["_state"], out["_logged"] = cells.states, cells.texts
        elif (cells.states == TEXT).any():
            account.note(
                "text_in_column",
                f"column {quote(match.header)} of {named(table.name)} has {int((cells.states == TEXT).sum())} cells that are no numbers, "
                f"left empty: {cells.shown(TEXT)}",
            )
        out[canonical] = cells.values
        record(account, canonical, match, table.name)
    if unit in ("bits", "perplexity"):
        with np.errstate(divide="ignore", invalid="ignore"):
            out["loss"] = out["loss"] * math.log(2) if unit == "bits" else np.log(out["loss"])
        account.note("loss_converted", f"loss of {named(table.name)} is in {unit}; converted to nats per token")
    elif unit in ("bits_per_byte", "nats_per_byte") and bytes_per_token is not None:
        out["loss"] = out["loss"] * bytes_per_token * (math.log(2) if unit == "bits_per_byte" else 1)
        said = f"{unit.replace('_', ' ')}; converted to nats per token with {bytes_per_token:g} bytes per token"
        account.note("loss_converted", f"loss of {named(table.name)} is in {said}")
        unit = "nats"
    for name in out.keys() - matches.keys():
        out[name] = own_numbers(name, out[name])
    out["run"] = _run_names(out, table, account)
    if "run" in matches:
        record(account, "run", matches["run"], table.name)
    out["_file"], out["_row"] = np.full(n, table.name, dtype=object), table.rows
    account.files.append(
        {"name": table.name, "sha256": table.sha256, "rows": n if table.n_rows is None else table.n_rows}
    )
    return out, unit


def _require_numbers(cells: Cells, match: Match, target: str, file: str) -> None:
    if not np.isfinite(cells.values).any() and not (cells.states == NOT_FINITE).any():
        raise RunsError(
            f"column {quote(match.header)} of {named(file)}, taken as {target}, holds no number: {cells.shown()}. "
            f"Map the right one with --column {target}=NAME."
        )


def required_of_its_own(required: Sequence[str], table: RawTable, target: str) -> dict[str, str]:
    """Required columns that are not canonical (n_samples, batch_tokens, ... of a law) -> the table's own, to be read as numbers."""
    headers = {squash(h): h for h in reversed(list(table.columns))}
    others = [name for name in required if name not in COLUMNS and name != target and squash(name) in headers]
    return {name: name if name in table.columns else headers[squash(name)] for name in others}


def _own_column(target: str, headers: Sequence[str], file: str) -> str:
    if target in headers:
        return target
    same = [h for h in headers if squash(h) == squash(target)]
    if len(same) != 1:
        raise missing_column(target, headers, file=file)
    return same[0]


def _unit_of_loss(match: Match, loss_unit: str | None, mapped: bool, file: str) -> str:
    stated = loss_unit_of(match.header)
    if loss_unit is None:
        return stated or "nats"
    if stated is not None and stated != loss_unit and loss_unit != "other" and not mapped:
        way = " (nats per token would need the number of bytes per token)" if stated == "bits_per_byte" else ""
        raise RunsError(
            f"column {quote(match.header)} of {named(file)} is {stated.replace('_', ' ')} by its name, not {loss_unit}{way}; say --loss-unit {stated}, "
            f"or map the column you mean with --column loss=NAME."
        )
    return loss_unit


def renamed_columns(table: RawTable, matches: Mapping[str, Match]) -> Columns:
    """The columns, as they are, under canonical names; one that another displaces keeps its name with ' (as in file)'."""
    source = {m.header: c for c, m in matches.items()}
    renamed = {source.get(h, f"{h} (as in file)" if h in matches else h): v for h, v in table.columns.items()}
    return renamed | {
        c: table.columns[m.header] for c, m in matches.items() if c not in renamed
    }  # one column mapped to two names


def record(account: Account, canonical: str, match: Match, file: str) -> None:
    """Enter in the account which column was taken as which, and note what a reader should know of that choice."""
    account.mapping.setdefault(canonical, {"column": match.header, "factor": match.factor})
    account.renamed.setdefault(match.header, canonical)
    if match.note:
        account.note("column_choice", f"{match.note} (choose with --column {canonical}=NAME)")
    if match.factor != 1:
        account.note(
            "column_factor",
            f"{canonical} is column {quote(match.header, 60)} of {named(file)} times {format_quantity(match.factor, 'number')}",
        )
    if canonical == "loss" and squash(match.header) in _TRAINING_LOSS:
        account.note(
            "training_loss", f"loss is the training loss ({quote(match.header, 60)}); no held-out loss was found"
        )
    if canonical == "n_params" and squash(match.header) in {
        squash(a) for a in COLUMNS["n_params_non_embedding"].aliases[0]
    } | {"nparamsnonembedding"}:
        account.note("non_embedding", f"n_params is {quote(match.header)}: parameters outside the embeddings")


def _run_names(columns: Columns, table: RawTable, account: Account) -> np.ndarray:
    """The run of each row as text. Without such a column: the file, if it is one training curve; else each row is a run."""
    stem = table.stem
    if "run" in columns:
        given = columns["run"]
        if given.dtype.kind == "f":
            given = np.array([int(v) if v == v and v.is_integer() else v for v in given.tolist()], dtype=object)
        lacking = pd.isna(given)
        names = [str(v).strip() for v in given.tolist()]
        if lacking.any() or "" in names:
            names = [
                f"{stem}:{row}" if gone or not name else name
                for gone, name, row in zip(lacking, names, table.rows, strict=True)
            ]
        return np.array(names, dtype=object)
    if "step" in columns and not np.isnan(columns["step"]).all():
        sizes = columns.get("n_params", np.empty(0))
        if len(np.unique(sizes[~np.isnan(sizes)])) <= 1:
            account.note("one_run_per_file", f"{named(table.name)} has no run column; read as the curve of one run")
            return np.full(len(table.rows), stem, dtype=object)
        account.note(
            "one_run_per_row", f"{named(table.name)} has no run column; each row was taken as a run of its own"
        )
    return np.array([f"{stem}:{row}" for row in table.rows], dtype=object)
