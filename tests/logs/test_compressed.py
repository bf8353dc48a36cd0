"""Compressed logs: bombs are refused in little memory, and long curves are reduced while they are unpacked."""

from __future__ import annotations

import gzip
import io
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from scaling.errors import RunsError
from scaling.logs import compressed, large, read_runs

_PEAK = """
import resource, sys
from scaling.errors import RunsError
from scaling.logs import read_runs
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(len(read_runs(sys.argv[1])), "runs")
except RunsError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024))
"""


def _read_apart(path: Path) -> tuple[str, int]:
    """What a process of its own says of a file, and how much its memory grew [bytes]."""
    done = subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said, grown = done.stdout.strip().rsplit("\n", 1)
    return said, int(grown)


def _members(text: bytes, times: int) -> bytes:
    """gzip members, one after the other, which unpack to the text so many times over."""
    return gzip.compress(text, 9) * times


@pytest.mark.parametrize("header", ["loss\n", "run,step,loss\n"])
def test_a_bomb_is_refused_with_its_name_and_the_way_out_in_little_memory(header: str, tmp_path: Path) -> None:
    row = b"3.0\n" if header == "loss\n" else b"a,1,3.0\n"
    path = tmp_path / "bomb.csv.gz"  # 16 GB
    path.write_bytes(gzip.compress(header.encode()) + _members(row * (2**24 // len(row)), 1000))
    said, grown = _read_apart(path)
    assert "bomb.csv.gz' unpacks to more than 250 times its size" in said and "unpack it first" in said
    assert grown < 250e6


def test_a_bomb_of_zstd_is_refused_in_little_memory(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "bomb.csv.zst"  # 12 GB
    path.write_bytes(zstandard.ZstdCompressor().compress(b"loss\n" + b"3.0\n" * 2**24) * 180)
    said, grown = _read_apart(path)
    assert "bomb.csv.zst' unpacks to more than 250 times its size" in said
    assert grown < 250e6


def test_a_bomb_in_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.csv.gz"
    path.write_bytes(gzip.compress(_members(b"loss\n" + b"3.0\n" * 2**22, 100)))
    with pytest.raises(RunsError, match="unpacks to more than 250 times its size"):
        read_runs(path)


def test_a_parquet_file_of_equal_cells_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"loss": pa.array(np.full(1_000_000, 3.0))}), path)
    assert path.stat().st_size < 50_000
    with pytest.raises(RunsError, match=r"bomb.parquet' holds more than 1e\+06 bytes"):
        read_runs(path, max_bytes=1_000_000)
    assert len(read_runs(path, max_bytes=8_000_000)) == 1_000_000


def test_what_is_above_the_limit_is_counted_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "FREE", 1 << 20)
    text = np.random.default_rng(0).bytes(1 << 22)
    packed = gzip.compress(text * 8)
    assert compressed.unpack(packed, "'a'", 1 << 25) == text * 8  # exactly the limit
    tracemalloc.start()
    with pytest.raises(RunsError, match=r"'a' holds more than 3.36e\+07 bytes"):
        compressed.unpack(packed, "'a'", (1 << 25) - 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # of 34 MB


@pytest.mark.parametrize("kind", ["gz", "members", "gz.gz", "zst", "frames", "zst.gz"])
def test_compressed_content_is_unpacked_to_the_last_byte(kind: str) -> None:
    text = b"".join(b"%d,%r\n" % (i, str(i**3)) for i in range(30_000))
    if "zst" in kind or kind == "frames":
        zstandard = pytest.importorskip("zstandard")
        pack = zstandard.ZstdCompressor().compress
    packed = {
        "gz": lambda: gzip.compress(text),
        "members": lambda: gzip.compress(text[:1000]) + gzip.compress(text[1000:]),
        "gz.gz": lambda: gzip.compress(gzip.compress(text)),
        "zst": lambda: pack(text),
        "frames": lambda: pack(text[:1000]) + pack(text[1000:]),
        "zst.gz": lambda: gzip.compress(pack(text)),
    }[kind]()
    assert compressed.unpack(packed, "'a'", 10**7) == text
    cut = packed[:-9]
    with pytest.raises(RunsError, match="ends too early|is a damaged"):
        compressed.unpack(cut, "'a'", 10**7)


def _curves(path: Path, n_runs: int = 40) -> bytes:
    rng = np.random.default_rng(1)
    lines = [
        f"r{r},{s},{10**7 * (r + 1)},{3 + 5 / s + rng.normal(0, 0.01):.6f},{3e-4 * math.cos(s / 400)!r}\n"
        for r in range(n_runs)
        for s in range(1, 500)
    ]
    return ("run,step,n_params,loss,lr\n" + "".join(lines)).encode()


@pytest.mark.parametrize("ending", ["csv.gz", "csv.zst"])
def test_long_curves_are_reduced_while_they_are_unpacked(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = _curves(tmp_path)
    path = tmp_path / f"curves.{ending}"
    if ending == "csv.zst":
        path.write_bytes(pytest.importorskip("zstandard").ZstdCompressor().compress(text))
    else:
        path.write_bytes(gzip.compress(text))
    whole = read_runs(path)
    monkeypatch.setattr(large, "LARGE", 1 << 16)
    monkeypatch.setattr(large, "_BLOCK", 1 << 15)
    parts = read_runs(path, max_bytes=path.stat().st_size)  # the limit is for what would be held whole
    assert "read_in_parts" in {n["code"] for n in parts.attrs["read"]["notes"]}
    assert whole.attrs["read"]["files"] == parts.attrs["read"]["files"]  # name, hash of the file, rows
    assert whole.attrs["read"]["n_rows"] == parts.attrs["read"]["n_rows"]
    assert parts["run"].tolist() == whole["run"].tolist()
    for column in ("step", "n_params", "loss", "lr"):
        np.testing.assert_array_equal(parts[column], whole[column])


def test_long_curves_whose_file_is_cut_off_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "LARGE", 1 << 16)
    packed = gzip.compress(_curves(tmp_path))
    for damaged, says in (
        (packed[:-1000], "gzip file that ends too early"),
        (packed[:-4] + b"\0\0\0\1", "is a damaged gzip"),
    ):
        (tmp_path / "a.csv.gz").write_bytes(damaged)
        with pytest.raises(RunsError, match=f"a.csv.gz' is a.*{says.split('is a ')[-1]}"):
            read_runs(tmp_path / "a.csv.gz")


def test_a_line_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "_LINE", 1000)
    assert list(large._blocks(io.BytesIO(b"a\nb\n" + b"c" * 5000), 3)) == [b"a\nb\n", None]
    assert list(large._blocks(io.BytesIO(b"a\nb\n" + b"c" * 500), 3)) == [b"a\nb\n", b"c" * 500 + b"\n"]
