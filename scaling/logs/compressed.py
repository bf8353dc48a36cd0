"""gzip and zstd, unpacked piece by piece and counted, so that a few KB that unpack to terabytes are refused in little memory."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from scaling.errors import RunsError
from scaling.quantities import quote

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
LEVELS = 3  # a file compressed twice by mistake is read; one compressed a hundred times is not
FREE = 1 << 26  # unpacked bytes from which on the rate counts; kept in memory while nothing is known of the rest
RATE = 250  # times its size: logs have 3 to 20, many equal rows 100; gzip reaches 1,030, zstd 30,000
_CHUNK = 1 << 20
_FED = 1 << 10  # bytes given to zstd at once, which may come back as 32 MB


def is_packed(head: bytes) -> bool:
    """Whether a file that begins so is gzip or zstd."""
    return head.startswith((GZIP, ZSTD))


class Unpacked(io.RawIOBase):
    """A binary stream of what `raw` holds, unpacked up to three times; `raw` itself where it is not compressed.

    name : of the file, as it stands in messages. most : bytes to be given at most, None for no limit but that of the rate.
    Raises RunsError while it is read: for damaged and cut content, for more than `most` bytes, and for content that unpacks to
    more than 250 times its size (beyond 64 MB).
    """

    def __init__(self, raw: BinaryIO, name: str, most: int | None = None) -> None:
        self._counted = _Counted(raw)
        self._name, self._most = name, most
        self._stream: Any = io.BufferedReader(self._counted, _CHUNK)
        self.kinds: list[str] = []
        self.size = 0
        for _ in range(LEVELS):
            head = self._guarded(lambda: self._stream.peek(4)[:4])
            if head.startswith(GZIP):
                self.kinds.append("gzip")
                self._stream = io.BufferedReader(gzip.GzipFile("", "rb", fileobj=self._stream), _CHUNK)
            elif head.startswith(ZSTD):
                self.kinds.append("zstd")
                self._stream = io.BufferedReader(_Unzstd(self._stream, name), _CHUNK)
            else:
                break

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpacked bytes; RunsError past the size allowed, or where they are far more than any log unpacks to."""
        count: int = self._guarded(lambda: self._stream.readinto(buffer))
        self.size += count
        if self._most is not None and self.size > self._most:
            raise too_large(self._name, self._most)
        if self.kinds and self.size > FREE and self.size > RATE * self._counted.size:
            raise RunsError(
                f"{self._name} unpacks to more than {RATE} times its size, which no log does; if it is one, unpack it first and give "
                "the plain file."
            )
        return count

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except EOFError:
            raise _cut(self._name, self.kinds[-1]) from None
        except (OSError, zlib.error) as error:
            if not self.kinds:
                raise
            raise _damaged(self._name, self.kinds[-1], error) from None


class _Counted(io.RawIOBase):
    """A stream, and in `size` how much was read of it."""

    def __init__(self, raw: BinaryIO) -> None:
        self.raw, self.size = raw, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Bytes as they are in the file, counted."""
        piece = self.raw.read(len(buffer))
        buffer[: len(piece)] = piece
        self.size += len(piece)
        return len(piece)


class _Unzstd(io.RawIOBase):
    """Frames of zstd, one after the other, whose end is looked for (zstandard's own reader takes a cut file for a whole one)."""

    def __init__(self, raw: Any, name: str) -> None:
        try:
            import zstandard
        except ImportError:
            raise RunsError(
                f"{name} is compressed with zstd, which needs the package zstandard: pip install zstandard, or unpack it first."
            ) from None
        self._pieces = _frames(zstandard, raw, name)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpacked bytes of the frames in order; 0 at the end of the last."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _frames(zstandard: Any, raw: Any, name: str) -> Iterator[bytes]:
    fed = raw.read(_FED)
    try:
        while fed:
            frame = zstandard.ZstdDecompressor().decompressobj(write_size=_CHUNK)
            while not frame.eof:
                if not fed:
                    raise _cut(name, "zstd")
                yield frame.decompress(fed)
                fed = raw.read(_FED) if not frame.eof else frame.unused_data or raw.read(_FED)
    except zstandard.ZstdError as error:
        raise _damaged(name, "zstd", error) from None


def unpack(content: bytes, name: str, most: int) -> bytes:
    """The content of a compressed file, at most `most` bytes; content that is not compressed comes back as it is.

    Unpacked twice where it is long: counted first, so that what is refused does not fill the memory. Raises RunsError as Unpacked.
    """
    if not is_packed(content[:4]):
        return content
    kept: io.BytesIO | None = io.BytesIO()
    for piece in pieces(Unpacked(io.BytesIO(content), name, most)):
        if kept is not None and kept.tell() + len(piece) > FREE:
            kept = None
        if kept is not None:
            kept.write(piece)
    if kept is None:
        kept = io.BytesIO()
        for piece in pieces(Unpacked(io.BytesIO(content), name, most)):
            kept.write(piece)
    return kept.getvalue()


def pieces(stream: Any) -> Iterator[bytes]:
    """What a stream holds, at most 1 MB at a time."""
    while piece := stream.read(_CHUNK):
        yield piece


def too_large(name: str, most: int) -> RunsError:
    return RunsError(
        f"{name} holds more than {most:.3g} bytes; reduce it to the last row of each run, or raise the limit with max_bytes."
    )


def _cut(name: str, kind: str) -> RunsError:
    return RunsError(f"{name} is a {kind} file that ends too early (a broken download or copy?); copy it again.")


def _damaged(name: str, kind: str, error: Exception) -> RunsError:
    return RunsError(f"{name} is a damaged {kind} file ({quote(error, 80)}); copy it again.")
