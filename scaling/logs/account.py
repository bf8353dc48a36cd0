"""The account of a reading: what was read, dropped, converted and noted. It becomes attrs['read'] of a runs table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scaling.logs.schema import COLUMNS

_NOTES_PER_CODE = 5  # thousands of files with one quirk are not thousands of notes


@dataclass
class Account:
    """What happens while runs are read.

    files : name, sha256, rows. mapping : canonical column -> column and factor. dropped : code, reason, count, examples.
    notes : code, message. renamed : the files' columns -> canonical names. unsaid : notes left out, by code.
    """

    files: list[dict[str, Any]] = field(default_factory=list)
    mapping: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    unsaid: dict[str, int] = field(default_factory=dict)

    def note(self, code: str, message: str) -> None:
        """Add a sentence, once; a sixth one of its code is only counted."""
        sentence = message if message.split(" ")[0] in COLUMNS else message[:1].upper() + message[1:]
        entry = {"code": code, "message": sentence.rstrip(".") + "."}
        if entry in self.notes:
            return
        if sum(n["code"] == code for n in self.notes) < _NOTES_PER_CODE:
            self.notes.append(entry)
        else:
            self.unsaid[code] = self.unsaid.get(code, 0) + 1

    def all_notes(self) -> list[dict[str, str]]:
        """The notes, and behind those of a code how many were left out."""
        notes = list(self.notes)
        for code, count in self.unsaid.items():
            last = max(i for i, n in enumerate(notes) if n["code"] == code)
            said = f"{count:,} more note{'s' if count > 1 else ''} of this kind left out."
            notes.insert(last + 1, {"code": code, "message": said})
        return notes

    def drop(self, code: str, reason: str, count: int, examples: Sequence[str], *, warn: bool = False) -> None:
        """Count rows dropped for a reason, with examples such as 'row 14 (0.0)'; a new reason is noted where `warn`."""
        for entry in self.dropped:
            if entry["reason"] == reason:
                entry["count"] += count
                entry["examples"] = [*entry["examples"], *examples][:5]
                return
        self.dropped.append({"code": code, "reason": reason, "count": count, "examples": list(examples)[:5]})
        if warn:
            self.note(
                code, f"{count_rows(count)} dropped: {reason} ({', '.join(examples[:3])}{', ...' if count > 3 else ''})"
            )


def count_rows(count: int) -> str:
    """'1 row', '2 rows'."""
    return f"{count} row" if count == 1 else f"{count} rows"
