"""Blocks that are scanned by their bytes give what the general way gives; what is not plain is left to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scaling.logs import large, read_runs, scan

HEADER = "run,step,n_params,loss,lr\n"
AT = {"run": 0, "step": 1, "n_params": 2, "target": 3, "lr": 4}


def _scan(text: str) -> list[int] | None:
    found = scan.plain_rows(text.encode(), ",", 5, AT, "step", large._last)
    return None if found is None else found[0].tolist()


def _block(seed: int) -> str:
    """Runs in stretches that return, resumed steps, sparse losses, rates that rise and fall, names of many lengths."""
    rng = np.random.default_rng(seed)
    names = ["a", "sweep-7", "exactly8", "nine-byte", "x" * 40, "é" * 9, "a "]
    lines = []
    for _ in range(12):
        run, size = names[rng.integers(len(names))], int(10 ** rng.uniform(1, 14))
        first = int(10 ** rng.uniform(0, 14.9))
        for i in range(int(rng.integers(8, 60))):
            step = first + i if rng.random() > 0.1 else max(first - 3, 0)
            loss = f"{rng.uniform(1, 9):.4f}" if rng.random() > 0.3 else ""
            lr = f"{3e-4 * min(i, 20) / 20 * (1 - i / 80):.3g}" if rng.random() > 0.1 else ""
            lines.append(f"{run},{step},{size},{loss},{lr}\n")
    return "".join(lines)


@pytest.mark.parametrize("seed", range(40))
def test_a_plain_block_keeps_what_the_general_way_keeps(seed: int) -> None:
    text = _block(seed)
    layout = large._Layout(HEADER.strip().split(","), ",", HEADER.encode(), AT, "step")
    general = large._of_block(text.encode(), layout)
    assert general is not None
    assert _scan(text) == general.rows.tolist()
    whole = large._of_plain_block(text.encode(), layout)
    assert whole is not None and (whole.lines, whole.count, whole.used) == (general.lines, general.count, general.used)


@pytest.mark.parametrize(
    "row",
    [
        '"a,b",3,1,2.0,1\n',  # quotes may hold delimiters,
        '"a,b",3,1,2.0\n',  # which make up for cells that are missing,
        '"a""b",3,1,2.0,1\n',  # and other quotes
        'a"b,3,1,2.0,1\n',
        'a"b",3,1,2.0,1\n',
        "a,3,1,2.0,1\r\n",  # on this line alone
        "a,3,1,2.0,1\ra,4,1,2.0,1\n",
        "a,3,1,2.0\n",
        "a,3,1,2.0,1,1\na,3,1,2.0\n",
        "a,3.0,1,2.0,1\n",
        "a,,1,2.0,1\n",
        "a,12:4,1,2.0,1\n",  # ':' follows '9'
        "a,1/34567890,1,2.0,1\n",  # '/' stands before '0'
        "a,1234567890123456,1,2.0,1\n",
        "a,3,1,nan,1\n",
        "a,3,1,-,1\n",
        "a,3,1, 2.0,1\n",
        "a,3,1,2.0,fast\n",
        "b" * 200 + ",3,1,2.0,1\n",
        "\n",
    ],
)
def test_what_is_not_plain_is_left_to_the_general_way(row: str) -> None:
    plain = "a,1,1,3.0,1\na,2,1,2.5,1\n"
    assert _scan(plain) == [1]
    assert _scan(plain + row) is None


def _both(text: str) -> list[int] | None:
    """Rows kept by the bytes, after a look that the general way keeps the same."""
    layout = large._Layout(HEADER.strip().split(","), ",", HEADER.encode(), AT, "step")
    general, kept = large._of_block(text.encode(), layout), _scan(text)
    assert general is not None
    assert kept is None or kept == general.rows.tolist()
    return kept


def _in_quotes(line: str) -> str:
    return ",".join(f'"{cell}"' for cell in line.split(","))


@pytest.mark.parametrize("seed", range(10))
def test_quotes_around_whole_cells_carriage_returns_and_steps_with_a_point_are_plain(seed: int) -> None:
    lines = _block(seed).splitlines()
    names_alone = [f'"{line.split(",", 1)[0]}",{line.split(",", 1)[1]}' for line in lines]
    expected = _both("\n".join(lines) + "\n")
    assert expected is not None
    for other in (
        "\n".join(map(_in_quotes, lines)) + "\n",
        "\n".join(names_alone) + "\n",
        "\r\n".join(lines) + "\r\n",
        "\r\n".join(map(_in_quotes, lines)) + "\r\n",
        "".join("{},{}.0,{}\n".format(*line.split(",", 2)) for line in lines),
    ):
        assert _both(other) == expected


# how trainers write a rate; the last two at full length, as Python and as C do
RATES = ("{:.6f}", "{:.3e}", "{:.12f}", "{:.3g}", "{!r}", "{:.16e}")


@pytest.mark.parametrize("form", RATES)
@pytest.mark.parametrize("seed", range(4))
def test_a_rate_that_changes_in_every_row_is_told_from_its_digits(form: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = []
    for r in range(8):
        peak, warm, n = float(10 ** rng.uniform(-5, 0.5)), int(rng.integers(1, 60)), 300
        for s in range(n):
            rate = peak * min(1.0, (s + 1) / warm) * (0.55 + 0.45 * np.cos(np.pi * s / n))
            cell = "" if rng.random() < 0.05 else form.format(float(rate))
            lines.append(f"r{r},{s},7,3.0,{cell}\n")
    assert _both("".join(lines)) is not None


def test_rates_that_differ_in_their_last_digits_only_are_read_as_numbers() -> None:
    lines = [f"a,{s},7,3.0,0.000300000{9 if s == 400 else s % 7:05d}\n" for s in range(1000)]
    assert _both("".join(lines)) == [400, 999]
    close = "".join(f"a,{s},7,3.0,0.00030000000000000{s % 9}1\n" for s in range(1000))
    assert _scan(close) is None  # too many are as large: the general way reads them


def test_rates_of_other_forms_are_read_as_numbers_where_they_are_few() -> None:
    odd = ["3e-4", "+0.0009", "1E-1", "7e-4", ".5", "00.2", "inf", "2.5e+1", "1.5e-005"]
    for cell in odd:
        lines = [f"a,{s},7,3.0,{cell if s == 77 else repr(1e-4 * (1 - s / 2000))}\n" for s in range(1000)]
        assert _both("".join(lines)) == sorted({999, 0 if cell == "1.5e-005" else 77})
    assert _scan("".join(f"a,{s},7,3.0,{1 + s % 9}e-{5 + s % 3}\n" for s in range(1000))) is None


def test_a_large_file_reads_as_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curves.csv"
    rows = [
        f"r{r},{s},{10**7 * (r + 1)},{3 + 5 / (s + r + 1):.5f},{1e-3 / s:.3g}\n"
        for r in range(30)
        for s in range(1, 200)
    ]
    diverged = "".join(f"lost,{s},7,{'nan' if s > 5 else 3},1e-3\n" for s in range(1, 9))
    path.write_text(HEADER + "".join(rows) + diverged)
    small = read_runs(path)
    monkeypatch.setattr(large, "LARGE", 0)
    monkeypatch.setattr(large, "_BLOCK", 1 << 14)
    monkeypatch.setattr(large, "_PIECE", 1 << 12)
    parts = read_runs(path)
    assert "read_in_parts" in {n["code"] for n in parts.attrs["read"]["notes"]}
    assert parts["run"].tolist() == small["run"].tolist()
    for column in ("step", "n_params", "loss", "lr"):
        np.testing.assert_array_equal(parts[column], small[column])
    assert parts.attrs["read"]["n_rows"] == small.attrs["read"]["n_rows"]
