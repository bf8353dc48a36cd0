"""A JSON list of objects, or one object per line, as a table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from scaling.errors import RunsError
from scaling.logs.raw_table import RawTable, column_of, named
from scaling.quantities import quote


def json_table(text: str, name: str, digest: str, notes: list[tuple[str, str]]) -> RawTable:
    """The table of a JSON list or of JSON lines; digest : sha256 of the file. Raises RunsError for other JSON."""
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    dropped: list[tuple[str, int]] = []
    if text.lstrip()[0] == "[":
        for number, record in enumerate(_loads(text, name, ""), 1):
            if not isinstance(record, dict):
                raise RunsError(
                    f"{named(name)}, row {number}: {quote(record)} is no JSON object; each row is {{column: value, ...}}."
                )
            records.append(_flat(record))
            rows.append(number)
    else:
        lines = text.split("\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                if records and number == len(lines):  # still being written, or cut off: the rest stands
                    dropped.append(("the last line is cut off", number))
                    continue
                if not records:
                    raise _not_json_lines(text, name) from None
                raise RunsError(
                    f"{named(name)}, row {number}: {quote(line)} is no JSON object; mend or remove that line."
                ) from None
            if not isinstance(record, dict):
                raise RunsError(
                    f"{named(name)}, row {number}: {quote(line)} is no JSON object; each line is {{column: value, ...}}."
                )
            records.append(_flat(record))
            rows.append(number)
    if not records:
        raise RunsError(f"{named(name)} holds no rows.")
    names = list(dict.fromkeys(key for record in records for key in record))
    columns = {key: column_of([r.get(key) for r in records]) for key in names}
    return RawTable(name, columns, np.array(rows), digest, notes=tuple(notes), dropped=tuple(dropped))


def _flat(record: dict[str, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """{'eval': {'loss': 3}} -> {'eval/loss': 3}."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict) and depth < 8:
            flat |= _flat(value, f"{prefix}{key}/", depth + 1)
        else:
            flat[f"{prefix}{key}".strip()] = value
    return flat


def _loads(text: str, name: str, what: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RunsError(f"{named(name)} is no valid JSON: row {error.lineno}, {error.msg.lower()}.") from None
    except (ValueError, RecursionError):
        raise RunsError(
            f"{named(name)} is JSON nested too deeply or with numbers too long to be a table of runs."
        ) from None


def _not_json_lines(text: str, name: str) -> RunsError:
    try:
        document = _loads(text, name, "")
    except RunsError as error:
        return error
    keys = ", ".join(quote(k) for k in list(document)[:6])
    return RunsError(
        f"{named(name)} is one JSON object (with {keys}), not a table; give a list of objects, or one object per line "
        "(pandas: to_json(orient='records', lines=True))."
    )
