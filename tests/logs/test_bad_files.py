"""Bad input ends in a sentence that names file, row and column and the way out, or in a named warning; never in a traceback."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import RunsError
from scaling.logs import check_runs, describe_read, read_runs
from tests.logs.bad_files import bad_files, good_rows, table

CASES = bad_files()
errors, read_anyway = ([c for c in CASES if (c.outcome == "error") is failed] for failed in (True, False))


@pytest.mark.parametrize("case", errors, ids=lambda c: c.id)
def test_a_file_that_cannot_be_read_one_way_only_is_refused_with_words(case, tmp_path):
    path = tmp_path / case.name
    path.write_bytes(case.content)
    with pytest.raises(RunsError) as caught:
        read_runs(path, **case.options)
    message = str(caught.value)
    assert all(part in message for part in case.says), message
    assert message.isprintable()
    assert len(message) < 700
    assert caught.value.__cause__ is None  # nothing of the machinery shows through


@pytest.mark.parametrize("case", read_anyway, ids=lambda c: c.id)
def test_a_file_that_is_read_says_what_was_odd(case, tmp_path):
    path = tmp_path / case.name
    path.write_bytes(case.content)
    runs = read_runs(path, **case.options)
    assert len(runs) == case.rows
    notes, design = runs.attrs["read"]["notes"], check_runs(runs)
    if case.outcome == "read":
        assert {n["code"] for n in notes} == {"filled_flops"}
        assert not design
        return
    said = [n["message"] for n in {"note": notes, "design": design}[case.outcome] if n["code"] == case.code]
    assert len(said) == 1
    assert all(part in said[0] for part in case.says), said[0]
    assert said[0].endswith(".")
    assert said[0] in describe_read(runs) or case.code in {d["code"] for d in runs.attrs["read"]["dropped"]}
    json.dumps(runs.attrs["read"], allow_nan=False)


def test_the_sound_sweep_behind_the_cases_raises_no_note_and_no_warning(tmp_path):
    path = tmp_path / "good.csv"
    path.write_text(table(good_rows()))
    runs = read_runs(path)
    assert [n["code"] for n in runs.attrs["read"]["notes"]] == ["filled_flops"]
    assert not runs.attrs["read"]["dropped"]
    assert not check_runs(runs)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("0.0", "1 row of {file} cannot be used: loss is not positive (row 5 (0)). Drop these rows, name the metric"),
        ("nan", "loss is nan or infinite (row 5 ('nan'))"),
        ("", "loss is missing (row 5 (empty))"),
        ("diverged", "loss is text (row 5 ('diverged'))"),
    ],
)
def test_rows_are_refused_instead_of_dropped_on_request(value, says, tmp_path):
    rows = good_rows()
    rows[3][3] = value
    path = tmp_path / "a.csv"
    path.write_text(table(rows))
    with pytest.raises(RunsError) as caught:
        read_runs(path, drop_bad=False)
    assert says.format(file=f"'{path}'") in str(caught.value)


def test_no_more_than_the_limit_is_unpacked(tmp_path):
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"loss\n" + b"3.0\n" * 2_000_000))
    with pytest.raises(RunsError, match=r"bomb.csv.gz' holds more than 1e\+06 bytes"):
        read_runs(path, max_bytes=1_000_000)
    with pytest.raises(RunsError, match="holds more than 100 bytes"):
        read_runs(path, max_bytes=100)


def test_many_sizes_close_together_are_many(tmp_path):
    rng = np.random.default_rng(0)
    sizes = np.sort(10 ** rng.uniform(7, 10, 2000))
    assert np.diff(np.log(sizes)).max() < 0.05  # each is near the next one
    rows = [{"n_params": n, "n_tokens": t, "loss": 2 + 400 / n**0.3} for n, t in zip(sizes, sizes[::-1], strict=True)]
    path = tmp_path / "a.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    assert not {w["code"] for w in check_runs(read_runs(path))} & {"few_sizes", "few_token_counts"}
    pd.DataFrame(rows).assign(n_params=[1e8, 1.015e8, 5e8, 5.05e8] * 500).to_csv(path, index=False)
    (few,) = (w for w in check_runs(read_runs(path)) if w["code"] == "few_sizes")
    assert "n_params takes only 2 values" in few["message"]


def test_names_of_files_are_one_line_and_many_notes_of_one_kind_stand_together(tmp_path):
    for i in range(9):
        (tmp_path / f"a\n{i}.csv").write_text("step,n_params,n_tokens,loss\n1,1e8,1e9,3\n2,1e8,2e9,2.5\n")
    runs = read_runs(sorted(tmp_path.iterdir()))
    assert describe_read(runs).splitlines()[0].count(".csv") == 3
    codes = [n["code"] for n in runs.attrs["read"]["notes"]]
    first = codes.index("one_run_per_file")
    assert codes[first : first + 6] == ["one_run_per_file"] * 6 and "one_run_per_file" not in codes[first + 6 :]
    assert runs.attrs["read"]["notes"][first + 5]["message"] == "4 more notes of this kind left out."


@pytest.mark.parametrize("damage", ["cut", "bits"])
def test_a_damaged_zstd_file_is_refused(damage, tmp_path):
    zstandard = pytest.importorskip("zstandard")
    content = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(table(good_rows()).encode()))
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 0xFF
    path = tmp_path / "a.csv.zst"
    path.write_bytes(content)
    with pytest.raises(RunsError, match=r"ends too early|is a damaged zstd file"):
        read_runs(path)


def test_a_path_that_is_no_file_is_refused(tmp_path):
    (tmp_path / "sweep.csv").write_text(table(good_rows()))
    for path, says in (
        (tmp_path / "swep.csv", "There is no file .*Did you mean 'sweep.csv'"),
        (tmp_path, r"is a folder; name its files, for example"),
        (f"{tmp_path}/*.tsv", "No file matches"),
        ("https://example.org/a.csv", "nothing is fetched"),
        ([], "No runs were given"),
        (3, "cannot be read from 'int'"),
    ):
        with pytest.raises(RunsError, match=says):
            read_runs(path)


def test_hostile_names_stay_inert(tmp_path):
    header = 'run,n_params,n_tokens,loss,"=cmd|\' /C calc\'!A0","\x1b[31mred\nline"'
    path = tmp_path / "a.csv"
    path.write_text(table([[f"../../{r[0]}\u202e", *r[1:], 1, 2] for r in good_rows()], header))
    runs = read_runs(path)
    text = describe_read(runs)
    assert len(runs) == 15
    assert "\x1b" not in text
    assert all(line.isprintable() for line in text.split("\n"))
    path.write_text(table(good_rows(), "run,n_params,n_tokens,\x1b[31m" + "x" * 100_000))
    with pytest.raises(RunsError) as caught:
        read_runs(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


def test_many_columns_and_a_huge_cell_do_no_harm(tmp_path):
    rng = np.random.default_rng(0)
    extra = ",".join(f"x{i}" for i in range(10_000))
    rows = [[*r, *rng.integers(0, 9, 10_000)] for r in good_rows()]
    path = tmp_path / "a.csv"
    path.write_text(table(rows, f"run,n_params,n_tokens,loss,{extra}"))
    assert len(read_runs(path)) == 15
    path.write_text(
        table(
            [[*r, "y" * (5_000_000 if i == 0 else 1)] for i, r in enumerate(good_rows())],
            "run,n_params,n_tokens,loss,text",
        )
    )
    assert len(read_runs(path)) == 15


GOOD = {
    "csv": table(good_rows()).encode(),
    "jsonl": "\n".join(json.dumps({"run": r[0], "n_params": r[1], "loss": r[3]}) for r in good_rows()).encode(),
}
damage = st.lists(
    st.tuples(
        st.integers(0, 500),
        st.integers(0, 20),
        st.one_of(st.binary(max_size=6), st.sampled_from([b'"', b",", b";", b"\n", b"\xff\xfe", b"nan", b"1e999"])),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150)
@given(kind=st.sampled_from(sorted(GOOD)), cuts=damage, pack=st.booleans())
def test_any_damage_to_a_file_ends_in_a_table_or_a_sentence(kind, cuts, pack):
    content = gzip.compress(GOOD[kind]) if pack else GOOD[kind]
    for start, length, new in cuts:
        content = content[:start] + new + content[start + length :]
    assert table_or_sentence(content)


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))))
def test_any_bytes_end_in_a_table_or_a_sentence(content):
    assert table_or_sentence(content)


def table_or_sentence(content):
    try:
        runs = read_runs(io.BytesIO(content))
    except RunsError as error:
        return str(error).isprintable()
    return len(runs) > 0 and bool(np.isfinite(runs["loss"]).all())
