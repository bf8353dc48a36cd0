"""read_runs: the shapes people have, the same table out of each; what is converted, filled in, joined, filtered and reduced."""

from __future__ import annotations

import gzip
import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.errors import RunsError
from scaling.logs import check_runs, describe_read, read_runs
from tests.logs.bad_files import good_rows, loss, table

COLUMNS = ["run", "n_params", "n_tokens", "loss"]


def notes(runs, code):
    return [n["message"] for n in runs.attrs["read"]["notes"] if n["code"] == code]


def dropped(runs):
    return {d["code"]: d["count"] for d in runs.attrs["read"]["dropped"]}


@pytest.fixture
def frame():
    return pd.DataFrame(good_rows(), columns=COLUMNS)


@pytest.fixture
def write(tmp_path):
    def _write(content, name="sweep.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return _write


def encoded(frame, kind):
    """The bytes of a table in a format."""
    out = io.BytesIO()
    if kind.startswith("csv"):
        text = frame.to_csv(index=False)
        return {
            "csv": text.encode(),
            "csv.gz": gzip.compress(text.encode()),
            "csv-crlf": text.replace("\n", "\r\n").encode(),
        }[kind]
    if kind == "tsv":
        return frame.to_csv(index=False, sep="\t").encode()
    if kind == "pipes":
        return frame.to_csv(index=False, sep="|").encode()
    if kind == "quoted":
        return frame.to_csv(index=False, quoting=1).encode()
    if kind == "jsonl":
        return frame.to_json(orient="records", lines=True).encode()
    if kind == "json":
        return frame.to_json(orient="records").encode()
    if kind == "zst":
        zstandard = pytest.importorskip("zstandard")
        return zstandard.ZstdCompressor().compress(frame.to_csv(index=False).encode())
    pytest.importorskip("pyarrow")
    frame.to_parquet(out)
    return out.getvalue()


# -- formats -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["csv", "csv.gz", "csv-crlf", "tsv", "pipes", "quoted", "jsonl", "json", "zst", "parquet"]
)
def test_every_format_gives_the_same_table(kind, frame, write):
    runs = read_runs(write(encoded(frame, kind), f"a.{kind}"))
    assert list(runs.columns) == ["run", "n_params", "n_tokens", "flops", "loss"]
    pd.testing.assert_frame_equal(runs[["n_params", "n_tokens", "loss"]], frame[["n_params", "n_tokens", "loss"]])
    assert runs["run"].tolist() == frame["run"].tolist()
    assert all(runs[c].dtype == np.float64 for c in ("n_params", "n_tokens", "flops", "loss"))


def test_a_path_a_glob_a_list_a_stream_standard_input_and_a_frame_give_the_same_table(
    frame, write, monkeypatch, tmp_path
):
    path = write(encoded(frame, "csv"))
    expected = read_runs(path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    sources = [
        str(path),
        [path],
        f"{tmp_path}/*.csv",
        [f"{tmp_path}/sw*"],
        io.BytesIO(path.read_bytes()),
        io.StringIO(path.read_text()),
        "-",
        frame,
    ]
    for source in sources:
        runs = read_runs(source)
        pd.testing.assert_frame_equal(runs, expected, check_dtype=False)
    assert read_runs(frame).attrs["read"]["files"] == [{"name": "the DataFrame", "sha256": "", "rows": 15}]


def test_the_frame_of_the_caller_is_left_as_it_is(frame):
    before = frame.copy()
    read_runs(frame, where="loss<3")
    pd.testing.assert_frame_equal(frame, before)
    assert not frame.attrs


def test_runs_that_were_read_can_be_read_again(frame):
    once = read_runs(frame)
    pd.testing.assert_frame_equal(read_runs(once), once)


def test_numbers_are_exact(write):
    rng = np.random.default_rng(0)
    values = rng.lognormal(20, 10, 2000)
    texts = [repr(v) for v in values.tolist()]
    runs = read_runs(write("params,loss\n" + "".join(f"{t},{t}\n" for t in texts)))
    assert np.array_equal(runs["n_params"], [float(t) for t in texts])
    assert np.array_equal(runs["loss"], [float(t) for t in texts])


def test_a_folder_of_files_becomes_one_table_that_names_its_files(frame, write, tmp_path):
    write(encoded(frame[:8].assign(lr=1e-3), "csv"), "a.csv")
    write(encoded(frame[8:].assign(corpus="web"), "jsonl"), "b.jsonl")
    runs = read_runs([tmp_path / "a.csv", tmp_path / "b.jsonl"])
    assert runs["loss"].tolist() == frame["loss"].tolist()
    assert runs["file"].tolist() == ["a.csv"] * 8 + ["b.jsonl"] * 7
    assert runs["lr"].notna().tolist() == [True] * 8 + [False] * 7
    assert runs["corpus"].isna().tolist() == [True] * 8 + [False] * 7
    files = runs.attrs["read"]["files"]
    assert [f["rows"] for f in files] == [8, 7]
    assert len({f["sha256"] for f in files}) == 2


def test_the_account_of_the_reading_is_plain_data(frame, write):
    path = write(encoded(frame, "csv"))
    read = read_runs(path, where="loss<3").attrs["read"]
    assert json.loads(json.dumps(read)) == read
    assert read["mapping"]["loss"] == {"column": "loss", "factor": 1.0}
    assert read["flops_accounting"] == "6ND"
    assert read["n_rows"]["read"] == 15


def test_rows_are_named_by_their_line_even_when_cells_hold_line_breaks(write):
    text = 'loss,params,note\n3.0,1e8,"two\nlines"\n\n2.9,5e8,x\n-1,1e9,x\n'
    runs = read_runs(write(text))
    assert runs.attrs["read"]["dropped"][0]["examples"] == ["row 6 (-1)"]


# -- columns and quantities ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "C,N,D,loss",
        "flops,params,tokens,loss",
        "Training FLOP,Model Size,Training Tokens,Eval/Loss",
        "compute,parameter_count,total_tokens,val_loss",
        "training_compute,num_params,tokens_seen,validation loss",
        "throughput/total_flops,parameter_count,throughput/total_tokens,eval/paloma/macro_loss",
        "metrics.flops,params.n_params,metrics.tokens,metrics.val_loss",
        "budget,params,tokens,loss",
    ],
)
def test_columns_are_found_under_the_names_people_use(header, write):
    rows = [[6 * n * d, n, d, value] for _, n, d, value in good_rows()]
    runs = read_runs(write(table(rows, header)))
    for i, name in enumerate(("flops", "n_params", "n_tokens", "loss")):
        assert runs[name].tolist() == pytest.approx([r[i] for r in rows], rel=1e-9)
    assert not runs.attrs["read"]["filled"]


@pytest.mark.parametrize(
    ("header", "column", "factor"),
    [
        ("gflops", "flops", 1e9),
        ("throughput/total_gflops", "flops", 1e9),
        ("C [ZFLOP]", "flops", 1e21),
        ("flops_1e21", "flops", 1e21),
        ("PF-days", "flops", 8.64e19),
        ("params (B)", "n_params", 1e9),
        ("N (millions)", "n_params", 1e6),
        ("params_billion", "n_params", 1e9),
        ("tokens_trillion", "n_tokens", 1e12),
        ("D [B]", "n_tokens", 1e9),
        ("tokens (billion tokens)", "n_tokens", 1e9),
    ],
)
def test_a_unit_in_the_header_scales_the_cells(header, column, factor, write):
    runs = read_runs(write(f"{header},loss\n" + "".join(f"{v},3\n" for v in (2.5, 7, 70))))
    assert runs[column].tolist() == [2.5 * factor, 7 * factor, 70 * factor]
    assert "times" in notes(runs, "column_factor")[0]


@pytest.mark.parametrize(
    "header", ["flops_per_token", "d_model", "n_layers", "tokens_per_param", "batch_size", "total_steps", "step_time"]
)
def test_a_column_of_another_meaning_is_left_alone(header, write):
    runs = read_runs(write(f"{header},loss\n1e9,3\n2e9,2.9\n"))
    assert header in runs
    assert not {"n_params", "n_tokens", "flops", "step"} & set(runs.columns)


def test_quantities_in_cells_are_read_as_people_write_them(write):
    runs = read_runs(
        write(
            'model size,tokens,loss\n70M,1.4B,3.2\n"6.8e9",300_000_000_000,2.1\n 1B ,"1,400,000,000",2.9\n0.5T,2e12,1.9\n'
        )
    )
    assert runs["n_params"].tolist() == [70e6, 6.8e9, 1e9, 0.5e12]
    assert runs["n_tokens"].tolist() == [1.4e9, 3e11, 1.4e9, 2e12]


def test_decimal_commas_are_read_where_the_separator_is_a_semicolon(write):
    runs = read_runs(write("params;tokens;loss\n70M;1,4B;3,25\n1e9;2e9;2,875\n1.000.000,5;2e9;2,9\n"))
    assert runs["n_params"].tolist() == [70e6, 1e9, 1_000_000.5]
    assert runs["n_tokens"].tolist() == [1.4e9, 2e9, 2e9]
    assert runs["loss"].tolist() == [3.25, 2.875, 2.9]


def test_a_mapping_wins_over_names_and_may_scale(write):
    text = "size,loss,eval/c4\n0.07,9,3.2\n0.41,9,2.9\n"
    runs = read_runs(write(text), columns={"loss": "eval/c4", "n_params": "size*1e9"})
    assert runs["loss"].tolist() == [3.2, 2.9]
    assert runs["n_params"].tolist() == [0.07 * 1e9, 0.41 * 1e9]
    assert runs["loss (as in file)"].tolist() == [9, 9]


def test_a_choice_between_columns_is_said(write):
    runs = read_runs(write("params,params_no_embed,loss,train_loss\n100,80,3,2.9\n200,180,2.8,2.7\n"))
    assert runs["n_params"].tolist() == [100, 200]
    assert runs["n_params_non_embedding"].tolist() == [80, 180]
    assert runs["train_loss"].tolist() == [2.9, 2.7]
    assert "not used: 'params_no_embed'" in notes(runs, "column_choice")[0]


def test_a_training_loss_is_used_only_when_there_is_no_other_and_said(write):
    assert notes(read_runs(write("N,train_loss\n1e8,3\n")), "training_loss")
    runs = read_runs(write("N,train_loss,val_loss\n1e8,3,3.1\n"))
    assert runs["loss"].tolist() == [3.1]
    assert not notes(runs, "training_loss")


def test_sizes_without_embeddings_are_used_when_there_are_no_others_and_said(write):
    runs = read_runs(write("non_embedding_params,loss\n1e8,3\n"))
    assert runs["n_params"].tolist() == [1e8]
    assert notes(runs, "non_embedding")


def test_another_metric_can_be_the_target(write):
    text = "params,tokens,loss_a,loss_b,error_rate\n1e8,1e9,1,2,0.5\n2e8,1e9,1,2,0\n4e8,1e9,1,2,\n"
    runs = read_runs(write(text), target="error_rate")
    assert runs["error_rate"].tolist() == [0.5, 0.0]
    assert dropped(runs) == {"missing_error_rate": 1}
    with pytest.raises(RunsError, match=r"no column for error_rat: .*--column 'error_rat=error rate2'"):
        read_runs(write(text.replace("error_rate", "error rate2")), target="error_rat")


def test_required_columns_are_asked_for(write):
    path = write("params,loss\n1e8,3\n")
    with pytest.raises(RunsError, match=r"no column for n_tokens \(training tokens D, repeats included\): it has"):
        read_runs(path, required=("n_params", "n_tokens"))
    assert len(read_runs(path, required=("n_params",))) == 1


# -- units of loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "unit", "value", "expected"),
    [
        ("loss", None, 3.0, 3.0),
        ("loss", "nats", 3.0, 3.0),
        ("loss", "bits", 3.0, 3.0 * math.log(2)),
        ("loss_bits", None, 3.0, 3.0 * math.log(2)),
        ("val loss [bits]", None, 3.0, 3.0 * math.log(2)),
        ("loss", "perplexity", 20.0, math.log(20)),
        ("val_ppl", None, 20.0, math.log(20)),
        ("val_bpb", None, 0.9, 0.9),
        ("loss", "bits_per_byte", 0.9, 0.9),
        ("loss", "nats_per_byte", 0.9, 0.9),
        ("loss", "other", -2.0, -2.0),
    ],
)
def test_losses_are_converted_to_nats_where_the_unit_allows(header, unit, value, expected, write):
    runs = read_runs(write(f"params,{header}\n1e8,{value}\n2e8,{value}\n"), loss_unit=unit)
    assert runs["loss"].tolist() == pytest.approx([expected] * 2, rel=1e-15)


def test_losses_in_different_units_are_not_put_into_one_table(write):
    a, b = write("params,loss\n1e8,3\n", "a.csv"), write("params,val_bpb\n1e8,0.9\n", "b.csv")
    with pytest.raises(RunsError, match=r"different units .*nats/token in .*a.csv' and bits/byte in .*b.csv'"):
        read_runs([a, b])


# -- compute -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absent", ["flops", "n_tokens", "n_params"])
def test_whichever_of_size_tokens_and_compute_is_absent_is_computed(absent, frame):
    full = read_runs(frame)
    runs = read_runs(full.drop(columns=absent))
    assert runs[absent].tolist() == pytest.approx(full[absent].tolist(), rel=1e-14)
    assert runs.attrs["read"]["filled"] == {absent: 15}
    assert f"{absent} was computed" in notes(runs, f"filled_{absent}")[0]
    assert "computed (6ND)" in describe_read(runs)


def test_single_gaps_are_filled_and_the_rest_is_left_alone(frame):
    full = read_runs(frame)
    full.loc[3, "flops"] = np.nan
    full.loc[5, "flops"] *= 1.05
    runs = read_runs(full)
    assert runs["flops"][3] == 6 * runs["n_params"][3] * runs["n_tokens"][3]
    assert runs["flops"][5] == full["flops"][5]
    assert runs.attrs["read"]["filled"] == {"flops": 1}


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        ({"flops": 1.05}, None),
        ({"flops": 1.2}, "flops is 1.2 times 6ND"),
        ({"flops": 1e-9}, "flops=NAME*1e9"),
        ({"flops": 1e-18}, "1e-18 times 6ND"),
        ({"n_params": 1e-9}, "n_params or n_tokens were in billions"),
        ({"n_tokens": 1e-9}, "n_params or n_tokens were in billions"),
        ({"n_params": 1e-6}, "in millions"),
    ],
)
def test_compute_is_held_against_six_n_d(scale, says, frame):
    full = read_runs(frame)
    for column, factor in scale.items():
        full[column] *= factor
    said = notes(read_runs(full), "flops_not_6nd")
    assert bool(said) == (says is not None)
    if says:
        assert says in said[0]


def test_the_accounting_can_be_given(frame):
    class EightND:
        name = "8ND"

        def flops(self, n, d):
            return 8 * n * d

        def tokens(self, n, c):
            return c / (8 * n)

        def params(self, d, c):
            return c / (8 * d)

    runs = read_runs(frame, flops_accounting=EightND())
    assert runs["flops"].tolist() == (8 * runs["n_params"] * runs["n_tokens"]).tolist()
    assert runs.attrs["read"]["flops_accounting"] == "8ND"
    with pytest.raises(RunsError, match="unknown accounting of FLOPs '7ND'; known: 6ND"):
        read_runs(frame, flops_accounting="7ND")


# -- where and meta ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "keep"),
    [
        ("loss<2.8", lambda f: f["loss"] < 2.8),
        ("loss <= 2.8", lambda f: f["loss"] <= 2.8),
        ("n_params>=400M", lambda f: f["n_params"] >= 4e8),
        ("params>=400M", lambda f: f["n_params"] >= 4e8),
        ("n_params=400M", lambda f: f["n_params"] == 4e8),
        ("n_params!=400M", lambda f: f["n_params"] != 4e8),
        ("flops>1e19", lambda f: 6 * f["n_params"] * f["n_tokens"] > 1e19),
        ("dataset=web", lambda f: f["dataset"] == "web"),
        ("dataset == 'web'", lambda f: f["dataset"] == "web"),
        ("dataset!=web", lambda f: f["dataset"] != "web"),
        ("kept=true", lambda f: f["kept"]),
        ("kept!=True", lambda f: ~f["kept"]),
        ("a<b=1", lambda f: f["a<b"] == 1),
        (["dataset=web", "loss<3.2"], lambda f: (f["dataset"] == "web") & (f["loss"] < 3.2)),
    ],
)
def test_rows_are_kept_by_conditions(where, keep, frame):
    frame = frame.assign(dataset=["web", "code", "web books"] * 5, kept=[True, False, True] * 5)
    frame["a<b"] = [1, 2, 3] * 5
    runs = read_runs(frame.rename(columns={"n_params": "params"}), where=where)
    expected = frame[keep(frame)]
    assert 0 < len(expected) < 15
    assert runs["run"].tolist() == expected["run"].tolist()
    assert sum(d["count"] for d in runs.attrs["read"]["dropped"] if d["code"] == "where") == 15 - len(expected)


def test_a_condition_on_loss_does_not_hide_runs_without_one(write):
    runs = read_runs(write("params,loss\n1e8,3\n2e8,nan\n3e8,\n4e8,7\n"), where="loss<5")
    assert runs["loss"].tolist() == [3]
    assert dropped(runs) == {"where": 1, "missing_loss": 1, "loss_not_finite": 1}


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("dataset<web", "holds text; use = or !="),
        ("kept<1", "write kept=true or kept=false"),
        ("loss<five", "is not a loss"),
        ("<5", "is no comparison"),
        (5, "a condition is text"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(where, says, frame):
    with pytest.raises(RunsError, match=says):
        read_runs(frame.assign(dataset="web", kept=True), where=[where])


def test_a_table_of_runs_gives_the_curves_their_sizes(write):
    logs = write("run,step,loss\na,1,4\na,2,3\nb,1,5\nb,2,4\nc,1,3\n")
    meta = write(
        "name,params (M),tokens,lr,group\nb,200,2B,3e-4,small\na,100,1B,1e-4,small\nz,1,1,1,none\n", "meta.csv"
    )
    runs = read_runs(logs, meta=meta)
    assert runs["run"].tolist() == ["a", "b", "c"]
    assert runs["n_params"].tolist()[:2] == [100e6, 200e6]
    assert runs["n_tokens"].tolist()[:2] == [1e9, 2e9]
    assert runs["lr"].tolist()[:2] == [1e-4, 3e-4]
    assert runs["group"].tolist()[:2] == ["small", "small"]
    assert runs["n_params"].isna().tolist() == [False, False, True]
    assert runs["flops"].tolist()[0] == 6e17
    assert "no row for run 'c'" in notes(runs, "meta_missing")[0]
    assert [f["name"] for f in runs.attrs["read"]["files"]] == [str(logs), str(meta)]


def test_what_the_logs_say_wins_over_the_table_of_runs_and_the_difference_is_said(write):
    runs = read_runs(
        write("run,loss,params\na,3,1e8\nb,3,\n"), meta=pd.DataFrame({"run": ["a", "b"], "params": [5, 6]})
    )
    assert runs["n_params"].tolist() == [1e8, 6]
    assert "'n_params' differs" in notes(runs, "meta_differs")[0]


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ("run,params\na,1\na,2\n", "row 3: run 'a' occurs more than once"),
        ("params\n1\n", "no column for run"),
        ("run,params\nx,1\n", "No run of the logs is in .*the logs have 'a', the table 'x'"),
    ],
)
def test_a_table_of_runs_that_cannot_be_joined_is_refused(meta, says, write):
    with pytest.raises(RunsError, match=says):
        read_runs(write("run,loss\na,3\n"), meta=write(meta, "meta.csv"))


# -- curves --------------------------------------------------------------------------------------------------------


def curve(run, steps, n=1e8, **more):
    return pd.DataFrame(
        {
            "run": run,
            "step": steps,
            "n_params": n,
            "n_tokens": np.asarray(steps) * 1e6,
            "loss": [loss(n, s * 1e6) for s in steps],
            **more,
        }
    )


def test_a_curve_is_reduced_to_its_last_step_and_kept_on_request():
    frame = pd.concat([curve("a", [100, 300, 200]), curve("b", [100, 200], 2e8)])
    runs = read_runs(frame)
    assert runs["step"].tolist() == [300, 200]
    assert runs.attrs["read"]["reduced"] == {"rows": 5, "runs": 2, "by": "step", "final": True}
    assert not runs.attrs["read"]["dropped"]
    assert "5 rows of 2 runs" in describe_read(runs)
    assert read_runs(frame, final=False)["step"].tolist() == [100, 300, 200, 100, 200]


def test_a_resumed_run_counts_its_later_row(write):
    runs = read_runs(write("run,step,loss\na,1,5\na,2,4\na,2,3.9\na,1,5\n"))
    assert runs["loss"].tolist() == [3.9]
    assert "2 rows repeat a step" in notes(runs, "repeated_steps")[0]


def test_a_run_that_ends_in_nan_is_dropped_whole_but_a_gap_at_the_end_is_not(write):
    runs = read_runs(write("run,step,loss\na,1,5\na,2,nan\nb,1,5\nb,2,4\nb,3,\nc,1,nan\nc,2,4\n"))
    assert runs["run"].tolist() == ["b", "c"]
    assert runs["loss"].tolist() == [4, 4]
    assert dropped(runs) == {"diverged": 2, "missing_loss": 1, "loss_not_finite": 1}
    whole = read_runs(write("run,step,loss\na,1,5\na,2,nan\nb,1,5\n"), final=False)
    assert whole["run"].tolist() == ["a", "b"]


def test_rows_before_training_are_dropped_and_counted(write):
    runs = read_runs(write("run,step,params,tokens,loss\na,0,1e8,0,11\na,1,1e8,1e6,5\n"), final=False)
    assert runs["step"].tolist() == [1]
    assert dropped(runs) == {"n_tokens_not_positive": 1}


def test_runs_of_one_name_are_told_apart_by_size_and_seed(tmp_path):
    a = pd.concat([curve("0", [1, 2], 1e8), curve("1", [1, 2], 2e8)])
    b = pd.concat([curve("0", [1, 2], 4e8), curve("1", [1, 2], 8e8, seed=1), curve("1", [1, 2], 8e8, seed=2)])
    a.to_csv(tmp_path / "a.csv", index=False)
    b.to_csv(tmp_path / "b.csv", index=False)
    runs = read_runs(f"{tmp_path}/*.csv")
    assert runs["n_params"].tolist() == [1e8, 2e8, 4e8, 8e8, 8e8]
    assert "2 run names stand for 5 trainings" in notes(runs, "run_not_unique")[0]


def test_a_file_without_run_names_is_one_curve_or_one_run_per_row(write):
    one = read_runs(write("step,loss\n1,5\n2,4\n", "lm-30M.csv"))
    assert one["run"].tolist() == ["lm-30M"]
    assert notes(one, "one_run_per_file")
    rows = read_runs(write("C,N,D,loss\n6e17,1e8,1e9,5\n24e17,2e8,2e9,4\n", "sweep.csv"))
    assert rows["run"].tolist() == ["sweep:2", "sweep:3"]
    mixed = read_runs(write("N,D,step,loss\n1e8,1e9,100,5\n2e8,2e9,100,4\n", "mixed.csv"))
    assert mixed["run"].tolist() == ["mixed:2", "mixed:3"]
    assert notes(mixed, "one_run_per_row")


def test_run_names_are_text_as_written(write):
    assert read_runs(write("run,loss\n007,3\n7,3\n1.50,3\n"))["run"].tolist() == ["007", "7", "1.50"]
    assert read_runs(pd.DataFrame({"run": [1.0, 2.0], "loss": [3, 4]}))["run"].tolist() == ["1", "2"]


def test_a_curve_of_a_suspicious_length_is_said_to_be_thinned():
    assert notes(read_runs(curve("a", list(range(1, 1001)))), "thinned_curve")
    assert not notes(read_runs(curve("a", list(range(1, 1000)))), "thinned_curve")


def test_a_chart_export_with_a_column_for_each_run_is_unfolded(write):
    text = (
        '"Step","lm - 30M - train/loss","lm - 30M - train/loss__MIN","lm - 30M - train/loss__MAX","Group: b - train/loss"\n'
        '"10","5.1","5.1","5.1","6.1"\n"20","4.1","4.1","4.1",""\n"30","NaN","NaN","NaN",""\n'
    )
    runs = read_runs(write(text), final=False)
    assert runs["run"].tolist() == ["lm - 30M", "b", "lm - 30M"] or runs["run"].tolist() == [
        "lm - 30M",
        "lm - 30M",
        "b",
    ]
    assert sorted(runs["loss"]) == [4.1, 5.1, 6.1]
    assert notes(runs, "wide_export")
    assert read_runs(write(text))["run"].tolist() == ["b"]  # the other ended in NaN


# -- what others have published ------------------------------------------------------------------------------------


def test_chinchilla_points_are_read_as_published(reference):
    path = reference("chinchilla-epoch/runs.csv")
    runs = read_runs(path, where="excluded_in_paper=False")
    assert len(runs) == 240
    assert runs.attrs["read"]["dropped"][0]["count"] == 5
    raw = pd.read_csv(path).query("not excluded_in_paper")
    for ours, theirs in (("n_params", "params"), ("n_tokens", "tokens"), ("flops", "flops"), ("loss", "loss")):
        assert np.array_equal(runs[ours], raw[theirs])
    assert not notes(runs, "flops_not_6nd")


def test_kempner_sweep_is_read_by_naming_its_loss(reference):
    path = reference("kempner-four-corpora/runs.csv")
    with pytest.raises(RunsError, match="10 columns that can be loss"):
        read_runs(path)
    runs = read_runs(path, columns={"loss": "eval/c4_val/CrossEntropyLoss"}, where="split=fit")
    assert runs.groupby("group").size().min() > 50
    assert "several_groups" in {w["code"] for w in check_runs(runs)}


def test_misfitting_final_checkpoints_are_all_kept(reference):
    # the same configuration was run in several sweeps under one name, so the last row per name is not what was published
    runs = read_runs(reference("misfitting/runs.csv.gz"), where="portion_steps_elapsed=1", final=False)
    assert len(runs) == 261


def test_a_tracker_table_is_read_with_its_units(reference):
    runs = read_runs(reference("log-formats/wandb_runs_table_levanter.csv"))
    first = runs.iloc[0]
    assert (first["n_params"], first["n_tokens"]) == (669160448, 7787380736)
    assert first["flops"] == 30000190274.06881 * 1e9
    assert first["loss"] == 3.506753444671631
    assert runs.attrs["read"]["mapping"]["flops"] == {"column": "throughput/total_gflops", "factor": 1e9}
    assert len(runs) == 92


def test_a_scalar_download_is_the_curve_of_its_file(reference):
    path = reference("log-formats/tensorboard_scalar.csv")
    runs = read_runs(path, final=False)
    raw = pd.read_csv(path)
    assert runs["run"].unique().tolist() == ["tensorboard_scalar"]
    assert np.array_equal(runs["loss"], raw["Value"])
    assert np.array_equal(runs["step"], raw["Step"])


def test_a_panel_export_is_read_run_by_run(reference):
    path = reference("log-formats/wandb_panel_export_8runs.csv")
    runs = read_runs(path, final=False)
    raw = pd.read_csv(path)
    values = [c for c in raw if c.endswith(" - train/loss")]
    assert runs["run"].nunique() == len(values) == 8
    assert len(runs) == raw[values].notna().sum().sum()
    for column in values:
        assert np.array_equal(
            runs.loc[runs["run"] == column.removesuffix(" - train/loss"), "loss"], raw[column].dropna()
        )


def test_the_text_of_check_states_what_was_understood(write):
    runs = read_runs(write("model size,tokens,loss,dataset\n70M,1B,3.2,web\n1B,20B,-1,web\n2B,30B,2.5,code\n"))
    text = describe_read(runs)
    for part in ("3 rows read, 2 used", "n_params  model size", "parameters  70M to 2B", "computed (6ND)", "nats/token", "other columns: 'dataset'",
                 "1  loss is not positive: row 3 (-1)", "few_runs"):  # fmt: skip
        assert part in text
    with pytest.raises(ValueError, match="not read by read_runs"):
        describe_read(pd.DataFrame({"loss": [1]}))


def test_a_run_that_ends_far_above_its_lowest_loss_is_named(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("run,step,loss\na,1,5\na,2,4\na,3,11\nb,1,5\nb,2,3.5\nb,3,3.6\n")
    notes = {n["code"]: n["message"] for n in read_runs(path).attrs["read"]["notes"]}
    assert "1 of 2 runs" in notes["rises"] and "'a' (4, then 11)" in notes["rises"]


@pytest.mark.parametrize("header", ["max_steps", "num_train_steps", "trainer.num_train_steps", "Total Steps"])
def test_runs_that_stopped_early_by_a_column_of_their_configuration_are_left_out(tmp_path: Path, header: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(f"run,step,loss,{header}\na,100,3.1,100\nb,40,3.9,100\nc,100,3.0,-1\n")
    runs = read_runs(path)
    assert runs["run"].tolist() == ["a", "c"]
    assert [(d["code"], d["count"]) for d in runs.attrs["read"]["dropped"]] == [("unfinished", 1)]
    assert len(read_runs(path, unfinished=True)) == 3


def test_log_calls_are_not_held_against_planned_steps(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("run,_step,loss,max_steps\na,10,3.1,100\nb,100,3.9,100\n")
    assert len(read_runs(path)) == 2


def test_reading_says_how_far_it_is_and_can_be_ended(write, monkeypatch):
    from scaling.logs import large

    rows = "".join(f"r{i % 7},{i},{1e6 * (i % 7 + 1)},{1e7 + i},{3 - 1e-4 * i}\n" for i in range(4000))
    paths = [write("run,step,params,tokens,loss\n" + rows, f"{k}.csv") for k in range(3)]
    monkeypatch.setattr(large, "LARGE", 1000)
    monkeypatch.setitem(large.last_rows_of_file.__kwdefaults__, "block_bytes", 1 << 14)
    seen = []
    runs = read_runs(paths, progress=lambda done, total: seen.append(done / total))
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert seen[0] == 0
    assert seen[-1] == 1
    pd.testing.assert_frame_equal(runs, read_runs(paths))

    def stop(done, total):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_runs(paths, progress=stop)
