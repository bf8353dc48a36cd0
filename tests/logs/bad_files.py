"""Files as they should not be, each with what a user is to be told: an error, a named note, or a named design warning.

Used at the level of the library (test_bad_files.py) and of the command line: write `case.content` to `case.name` and read it.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

SIZES = (1e8, 2e8, 4e8, 8e8, 1.6e9)
TOKENS = (2e9, 8e9, 32e9)


@dataclass(frozen=True)
class BadFile:
    """One case.

    outcome : 'error' (RunsError, exit code 2), 'note' (attrs['read']['notes'] holds `code`), 'design' (check_runs gives `code`),
        or 'read' (nothing is wrong once it is read with care).
    says : what the message must contain. options : keyword arguments of read_runs. args : the same as command-line options.
    rows : how many runs are left, for a file that is read.
    """

    id: str
    name: str
    content: bytes
    outcome: Literal["error", "note", "design", "read"]
    says: tuple[str, ...] = ()
    code: str = ""
    rows: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    args: tuple[str, ...] = ()


def loss(n: float, d: float) -> float:
    """A plausible loss: Hoffmann et al. 2022, approach 3."""
    return 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28


def good_rows() -> list[list[Any]]:
    """[run, n_params, n_tokens, loss] of a sound sweep: five sizes by three token counts."""
    return [[f"r{i}{j}", n, d, round(loss(n, d), 6)] for i, n in enumerate(SIZES) for j, d in enumerate(TOKENS)]


def table(
    rows: list[list[Any]], header: str = "run,n_params,n_tokens,loss", delimiter: str = ",", end: str = "\n"
) -> str:
    """Text of a delimited file."""
    lines = [
        header.replace(",", delimiter),
        *(delimiter.join(f"{v:.10g}" if isinstance(v, float) else str(v) for v in row) for row in rows),
    ]
    return end.join(lines) + end


def with_loss(value: Any, *, at: int = 3, header: str = "run,n_params,n_tokens,loss") -> bytes:
    """The sound sweep with one loss replaced; position `at` is row at + 2 of the file."""
    rows = good_rows()
    rows[at][3] = value
    return table(rows, header).encode()


def _replaced(column: int, values: Any) -> bytes:
    rows = good_rows()
    for i, row in enumerate(rows):
        row[column] = values(i, row)
    return table(rows).encode()


def _parquet(rows: list[list[Any]]) -> bytes:
    import pandas as pd

    out = io.BytesIO()
    pd.DataFrame(rows, columns=["run", "n_params", "n_tokens", "loss"]).to_parquet(out)
    return out.getvalue()


def _zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return out.getvalue()


def _semicolons() -> bytes:
    return table(good_rows(), delimiter=";").replace(".", ",").encode()


def _curve() -> bytes:
    rows = [
        [f"r{i}", step, n, step * 1e6, round(loss(n, step * 1e6), 5)]
        for i, n in enumerate(SIZES)
        for step in (1000, 2000, 4000)
    ]
    rows[8][4] = "nan"  # the end of run r2
    return table(rows, "run,step,n_params,n_tokens,loss").encode()


def bad_files() -> list[BadFile]:
    """Every case."""
    good = table(good_rows())
    zipped = gzip.compress(good.encode(), mtime=0)
    noise = np.random.default_rng(0).integers(0, 256, 4000, dtype=np.uint8).tobytes()
    records = [dict(zip(("run", "n_params", "n_tokens", "loss"), row, strict=True)) for row in good_rows()]
    lines = [json.dumps(r) for r in records]
    double_loss = table([[*r, r[3] + 1] for r in good_rows()], "run,n_params,n_tokens,loss,loss")
    two_losses = table([[*r, r[3] + 1] for r in good_rows()], "run,n_params,n_tokens,val_loss,test_loss")
    with_flops = [[r[0], r[1], r[2], 6e-9 * r[1] * r[2], r[3]] for r in good_rows()]
    return [
        # -- the table itself
        BadFile("missing-column", "a.csv", table(good_rows(), "run,n_params,n_tokens,score").encode(), "error",
                ("no column for loss", "a.csv'", "'score'", "--column loss=")),
        BadFile("no-such-mapped-column", "a.csv", good.encode(), "error", ("no column 'eval/los'", "--column loss="),
                options={"columns": {"loss": "eval/los"}}, args=("--column", "loss=eval/los")),
        BadFile("duplicated-header", "a.csv", double_loss.encode(), "error", ("more than one column named 'loss'", "--column loss=NAME")),
        BadFile("two-losses", "a.csv", two_losses.encode(), "error", ("2 columns that can be loss", "'val_loss', 'test_loss'", "--column loss=val_loss")),
        BadFile("no-header", "a.csv", "\n".join(good.split("\n")[1:]).replace("r", "").encode(), "error", ("has no header",)),
        BadFile("empty-file", "a.csv", b"", "error", ("a.csv' is empty",)),
        BadFile("blank-file", "a.csv", b" \n\n  \n", "error", ("a.csv' is empty",)),
        BadFile("header-only", "a.csv", b"run,n_params,n_tokens,loss\n", "error", ("has a header", "but no rows")),
        BadFile("header-and-blank-lines", "a.csv", b"run,n_params,n_tokens,loss\n\n\n", "error", ("but no rows",)),
        BadFile("ragged-row", "a.csv", good.replace("r10,", "r10,oops,").encode(), "error", ("row 5: 5 fields, but the header has 4 columns",)),
        BadFile("thousands-commas-unquoted", "a.csv", good.replace("200000000,", "200,000,000,").encode(), "error", ("row 5: 6 fields", "double quotes")),
        BadFile("open-quote", "a.csv", good.replace("r10,", '"r10,').encode(), "error", ("double quote that is never closed",)),
        BadFile("semicolons-and-decimal-commas", "a.csv", _semicolons(), "note", ("decimals with a comma",), "decimal_comma", rows=15),
        BadFile("trailing-commas", "a.csv", good.replace("\n", ",\n").encode(), "read", rows=15),
        BadFile("trailing-commas-in-rows-only", "a.csv", good.replace("\n", ",\n").replace("loss,\n", "loss\n").encode(), "read", rows=15),
        BadFile("blank-lines-between", "a.csv", good.replace("\n", "\n\n").encode(), "read", rows=15),
        BadFile("carriage-returns-only", "a.csv", good.replace("\n", "\r").encode(), "read", rows=15),
        BadFile("excel-sep-line", "a.csv", ("sep=;\r\n" + table(good_rows(), delimiter=";", end="\r\n")).encode(), "read", rows=15),
        # -- encodings and containers
        BadFile("bom", "a.csv", b"\xef\xbb\xbf" + good.encode(), "read", rows=15),
        BadFile("utf-16", "a.csv", good.encode("utf-16"), "note", ("UTF-16",), "encoding", rows=15),
        BadFile("utf-16-without-mark", "a.csv", good.encode("utf-16-be"), "note", ("UTF-16",), "encoding", rows=15),
        BadFile("utf-16-cut-off", "a.csv", good.encode("utf-16")[:-1], "error", ("UTF-16 but is damaged",)),
        BadFile("latin-1", "a.csv", good.replace("r10", "gr\xf6\xdfe").encode("latin-1"), "note", ("row 5", "Latin-1"), "encoding", rows=15),
        BadFile("binary", "a.csv", noise, "error", ("is a binary file, not a table",)),
        BadFile("zero-bytes", "a.csv", (good * 40).encode() + b"\0\0\0\n", "error", ("zero bytes in row 641",)),
        BadFile("truncated-gz", "a.csv.gz", zipped[: len(zipped) // 2], "error", ("gzip file that ends too early",)),
        BadFile("damaged-gz", "a.csv.gz", zipped[:20] + b"\xff\xff\xff" + zipped[23:], "error", ("is a damaged gzip file",)),
        BadFile("gz-named-csv", "a.csv", zipped, "read", rows=15),
        BadFile("csv-named-gz", "a.csv.gz", good.encode(), "read", rows=15),
        BadFile("excel", "a.xlsx", _zipped(), "error", ("is a zip or Excel file; save the sheet as CSV",)),
        BadFile("pickle", "a.csv", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n", "error", ("a Python pickle, which is never loaded",)),
        BadFile("web-page", "a.csv", b"<!doctype html><html><body>Sign in</body></html>", "error", ("is an HTML page",)),
        BadFile("damaged-parquet", "a.parquet", _parquet(good_rows())[:200], "error", ("is a damaged Parquet file",)),
        BadFile("json-line-broken", "a.jsonl", "\n".join([*lines[:4], lines[4][:20], *lines[5:], ""]).encode(), "error", ("row 5", "is no JSON object")),
        BadFile("json-last-line-cut-off", "a.jsonl", "\n".join([*lines[:-1], lines[-1][:20]]).encode(), "note", ("row 15",), "cut_off", rows=14),
        BadFile("json-one-object", "a.json", json.dumps({"best": 3, "log": records}, indent=1).encode(), "error", ("is one JSON object (with 'best', 'log')",)),
        BadFile("json-numbers", "a.json", b"[1, 2, 3]", "error", ("row 1: '1' is no JSON object",)),
        BadFile("json-nested-too-deep", "a.json", b"[" * 100_000, "error", ("nested too deeply",)),
        # -- cells
        BadFile("words-in-loss", "a.csv", _replaced(3, lambda i, r: "high"), "error", ("column 'loss'", "holds no number", "row 2 ('high')")),
        BadFile("empty-loss", "a.csv", _replaced(3, lambda i, r: ""), "error", ("column 'loss'", "holds no number", "row 2 (empty)")),
        BadFile("a-word-in-loss", "a.csv", with_loss("diverged"), "note", ("loss is text", "row 5 ('diverged')"), "text_in_loss", rows=14),
        BadFile("nan-loss", "a.csv", with_loss("nan"), "note", ("loss is nan or infinite", "row 5 ('nan')"), "loss_not_finite", rows=14),
        BadFile("inf-loss", "a.csv", with_loss("Infinity"), "note", ("row 5 ('Infinity')",), "loss_not_finite", rows=14),
        BadFile("minus-inf-loss", "a.csv", with_loss("-inf"), "note", ("row 5 ('-inf')",), "loss_not_finite", rows=14),
        BadFile("overflowing-loss", "a.csv", with_loss("1e400"), "note", ("row 5 ('1e400')",), "loss_not_finite", rows=14),
        BadFile("zero-loss", "a.csv", with_loss("0.0"), "note", ("loss is not positive", "row 5 (0)"), "loss_not_positive", rows=14),
        BadFile("negative-loss", "a.csv", with_loss("-0.2"), "note", ("row 5 (-0.2)",), "loss_not_positive", rows=14),
        BadFile("all-losses-negative", "a.csv", _replaced(3, lambda i, r: -r[3]), "error", ("No usable row is left of the 15", "loss is not positive", "target='error_rate'")),
        BadFile("true-and-false-in-loss", "a.csv", _replaced(3, lambda i, r: i % 2 == 0), "error", ("column 'loss'",)),
        BadFile("ambiguous-comma", "a.csv", _replaced(2, lambda i, r: '"5,000"'), "error", ("row 2, column 'n_tokens'", "can be read as 5000 or as 5.0", "14 more")),
        BadFile("ambiguous-comma-with-semicolons", "a.csv", good.replace(",", ";").replace("100000000;", "5,000;").encode(), "error", ("row 2, column 'n_params'", "can be read as")),
        BadFile("small-b", "a.csv", _replaced(1, lambda i, r: "70b"), "error", ("row 2, column 'n_params'", "write 70B for 70 billion")),
        BadFile("zero-tokens", "a.csv", _replaced(2, lambda i, r: 0 if i == 4 else r[2]), "note", ("n_tokens is not positive", "row 6 (0)"), "n_tokens_not_positive", rows=14),
        BadFile("negative-params", "a.csv", _replaced(1, lambda i, r: -1 if i == 4 else r[1]), "note", ("n_params is not positive",), "n_params_not_positive", rows=14),
        BadFile("words-in-params", "a.csv", _replaced(1, lambda i, r: "unknown" if i == 4 else r[1]), "note", ("row 6 ('unknown')",), "text_in_column", rows=15),
        BadFile("diverged-run", "a.csv", _curve(), "note", ("diverged", "row 8"), "diverged", rows=4),
        # -- units
        BadFile("params-in-billions", "a.csv", _replaced(1, lambda i, r: r[1] / 1e9), "note", ("billions", "n_params=NAME*1e9"), "small_n_params", rows=15),
        BadFile("flops-in-gflop", "a.csv", table(with_flops, "run,n_params,n_tokens,flops,loss").encode(), "note", ("1e-09 times 6ND", "flops=NAME*1e9"), "flops_not_6nd", rows=15),
        BadFile("loss-in-bits-by-its-name", "a.csv", table(good_rows(), "run,n_params,n_tokens,loss_bits").encode(), "note", ("converted to nats",), "loss_converted", rows=15),
        BadFile("loss-is-perplexity", "a.csv", _replaced(3, lambda i, r: float(np.exp(r[3]))), "note", ("perplexity", "--loss-unit"), "loss_unit_suspect", rows=15),
        BadFile("bits-per-byte-called-nats", "a.csv", table(good_rows(), "run,n_params,n_tokens,val_bpb").encode(), "error", ("bits per byte by its name", "--loss-unit bits_per_byte"),
                options={"loss_unit": "nats"}, args=("--loss-unit", "nats")),
        BadFile("unknown-loss-unit", "a.csv", good.encode(), "error", ("unknown loss unit 'grams'", "nats"), options={"loss_unit": "grams"}, args=("--loss-unit", "grams")),
        # -- conditions
        BadFile("where-no-column", "a.csv", good.encode(), "error", ("no column 'los'", "Did you mean 'loss'?"), options={"where": "los<5"}, args=("--where", "los<5")),
        BadFile("where-no-comparison", "a.csv", good.encode(), "error", ("is no comparison",), options={"where": "loss"}, args=("--where", "loss")),
        BadFile("where-code", "a.csv", good.encode(), "error", ("no column",), options={"where": "__import__('os').system('x')==0"}, args=("--where", "__import__('os').system('x')==0")),
        BadFile("where-nothing-left", "a.csv", good.encode(), "error", ("keeps none of the 15 rows",), options={"where": "n_params>1T"}, args=("--where", "n_params>1T")),
        BadFile("where-ambiguous-number", "a.csv", good.encode(), "error", ("can be read as 5000 or as 5.0",), options={"where": "n_params>5,000"}, args=("--where", "n_params>5,000")),
        # -- designs that no fit can make up for
        BadFile("fewer-runs-than-coefficients", "a.csv", table(good_rows()[:4]).encode(), "design", ("only 4 runs",), "few_runs", rows=4),
        BadFile("one-ratio", "a.csv", table([[f"r{i}", n, 20 * n, loss(n, 20 * n)] for i, n in enumerate(SIZES)]).encode(), "design", ("20 tokens per parameter",), "one_ratio", rows=5),
        BadFile("one-budget", "a.csv", table([[f"r{i}", n, 1e19 / n, loss(n, 1e19 / n)] for i, n in enumerate(SIZES)]).encode(), "design", ("one compute budget (6e19 FLOPs)",), "one_budget", rows=5),
        BadFile("constant-params", "a.csv", _replaced(1, lambda i, r: 1e8), "design", ("n_params takes only 1 value:",), "few_sizes", rows=15),
        BadFile("constant-loss", "a.csv", _replaced(3, lambda i, r: 3.0), "design", ("same loss (3)",), "constant_loss", rows=15),
        BadFile("score-for-loss", "a.csv", _replaced(3, lambda i, r: 1 / r[3]), "design", ("The loss rises with compute",), "loss_rises", rows=15),
        BadFile("repeated-rows", "a.csv", table([[f"s{i}", *r[1:]] for i, r in enumerate(good_rows() * 2)]).encode(), "design", ("15 rows repeat another",), "duplicates", rows=30),
        BadFile("several-corpora", "a.csv", table([[*r, "web" if i % 2 else "code"] for i, r in enumerate(good_rows())], "run,n_params,n_tokens,loss,dataset").encode(), "design",
                ("Column 'dataset' has 2 values", "--by dataset"), "several_groups", rows=15),
    ]  # fmt: skip
