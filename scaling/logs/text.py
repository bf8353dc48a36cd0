"""The text of a file, whatever its encoding."""

from __future__ import annotations

from scaling.errors import RunsError
from scaling.logs.raw_table import named


def text_of(content: bytes, name: str) -> tuple[str, list[tuple[str, str]]]:
    """The text of a file and notes on its encoding; RunsError for binary content and zero bytes."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _decoded(content, "utf-16", name), [("encoding", "read as UTF-16")]
    head = content[:4096]
    if b"\0" in head:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if odd > 0.4 * len(head) / 2 and even == 0:
            return _decoded(content, "utf-16-le", name), [("encoding", "read as UTF-16 (little endian, no mark)")]
        if even > 0.4 * len(head) / 2 and odd == 0:
            return _decoded(content, "utf-16-be", name), [("encoding", "read as UTF-16 (big endian, no mark)")]
        raise RunsError(f"{named(name)} is a binary file, not a table; give CSV, TSV, JSON lines or Parquet.")
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise RunsError(f"{named(name)} has zero bytes in row {line} (a crash while it was written?); remove that row.")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        control = sum(1 for b in head if b < 32 and b not in b"\t\n\r\f\x1b")
        if control > 0.02 * len(head):
            raise RunsError(
                f"{named(name)} is a binary file, not a table; give CSV, TSV, JSON lines or Parquet."
            ) from None
        line = content[: error.start].count(b"\n") + 1
        return content.decode("latin-1"), [("encoding", f"{named(name)} is not UTF-8 (row {line}); read as Latin-1")]


def _decoded(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise RunsError(f"{named(name)} looks like UTF-16 but is damaged or cut off; save it again as UTF-8.") from None
