"""What trainers and trackers write: each published sample becomes the right runs table, each quirk is handled and said."""

from __future__ import annotations

import base64
import json
import math
import zlib

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from scaling.cli import main
from scaling.errors import RunsError
from scaling.laws import LAWS
from scaling.logs import describe_read, large, read_runs
from scaling.logs.files import parse_bytes
from scaling.logs.formats import FORMATS, find

# Written by TensorBoard's own EventFileWriter: train/loss 5.5, 4.25, nan at steps 10, 20, 30; tokens_seen 81920 at 10; val/loss 4.5 at
# 20 as a tensor; then a restart at 20: train/loss 4.125, val/loss 4.25 (tensor_content); a text summary at 30.
EVENTS = (
    "eNrzYICAf5M85nJ+SxBgjzlwy1GKN6koMTNPz7UsNa/EyihIj0unJDWvOL8oKT+xKEWvuDQ3N7GoUq+8KLMktUgvFaQqPi0zJzUeIiK1vzNXAW"
    "qu5tuVAZxglku/gwCXljCXIBdXCch0/Zz84mJRBoYNDv979O4pQtUzVr/5BlHvBlYvwiXExV2Snw20Pr44NTUPqGGB++m0bgZMC3yAGkSwWNDh"
    "4My7zccAqn7q1wvxEPV+YPXKXIpcHGWJOWDVThwcjFosDAwTHLy4uTi52IuTE3MSi4oXJLmUYtoXAtQvh8W+A/U2N1tvYqqPweG+Fgd+oaRwZa"
    "j6DfPLnSHq48DqxbhEUN2nxALy0ketlVWYVqTAncSSl1+S6sTJwe7EmpGak5O/a/3xTgDCRXpy"
)
LEVANTER_GFLOPS = 30000190274.06881


def notes(runs, code):
    return [n["message"] for n in runs.attrs["read"]["notes"] if n["code"] == code]


def dropped(runs):
    return {d["code"]: d["count"] for d in runs.attrs["read"]["dropped"]}


def attempt(work):
    """(what `work` returns, '') or (None, the sentence it was refused with)."""
    try:
        return work(), ""
    except RunsError as error:
        return None, str(error)


@pytest.fixture
def write(tmp_path):
    def _write(content, name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return _write


# -- the published samples -----------------------------------------------------------------------------------------

SAMPLES = {
    # file: (format, mapping to give, runs, last row's expected values)
    "hf_trainer_state.json": (
        "hf-trainer", {"loss": "eval_g0_loss"}, 1, {"step": 12030, "loss": 2.7486727237701416, "flops": 2.3847568878600192e17},
    ),
    "hf_console_dicts.log": ("hf-console", {}, 1, {"loss": 8.7312}),
    "lightning_metrics_small.csv": (
        "lightning", {}, 1, {"step": 400, "loss": 1.9023048877716064, "train_loss": 1.8657245635986328},
    ),
    "lightning_metrics_step_epoch.csv": ("lightning", {}, 1, {"step": 14074, "loss": 4.132571697235107}),
    "litgpt_metrics.csv": ("litgpt", {}, 1, {"step": 19, "loss": 8.731, "n_tokens": 655360, "lr": 8e-5}),
    "llmc_main.log": ("llm.c", {}, 1, {"step": 9536, "loss": 3.275959}),
    "megatron_stdout.log": (
        "megatron", {"n_tokens": "consumed_samples*2048"}, 1,
        {"step": 200, "loss": 7.487306, "train_loss": 7.365868, "n_tokens": 800 * 2048, "lr": 1.5e-4, "planned_steps": 1000},
    ),
    "mlflow_metric_file_train_loss": ("mlflow-metric", {}, 1, {"step": 50, "loss": 4.4796}),
    "mlflow_search_runs.csv": ("mlflow", {}, 1, {"n_params": 1e7, "loss": 4.41, "train_loss": 4.4911, "lr": 0.001}),
    "mlflow_ui_download.csv": ("mlflow-download", {}, 1, {"n_params": 1e7, "loss": 4.41, "train_loss": 4.4911, "lr": 0.001}),
    "modded_nanogpt.log": ("modded-nanogpt", {}, 1, {"step": 5100, "loss": 3.2741, "planned_steps": 5100}),
    "nanogpt_stdout.log": ("nanogpt", {}, 1, {"step": 200, "loss": 2.4601, "train_loss": 2.4314}),
    "olmo_console.log": ("olmo", {}, 1, {"step": 20, "loss": 8.942, "n_tokens": 10_485_760, "planned_steps": 20_000}),
    "tensorboard_scalar.csv": ("tensorboard", {}, 1, {"step": 2999, "loss": 0.15809640288352966}),
    "wandb_history_olmo.csv": (
        "wandb-history", {"loss": "eval/c4_en-validation/CrossEntropyLoss"}, 1,
        {"step": 1600, "loss": 4.025713920593262, "n_tokens": 838860800},
    ),
    "wandb_panel_export_8runs.csv": ("wandb-panel", {}, 8, {"step": 59, "loss": 6.034308433532715}),
    "wandb_runs_table_levanter.csv": (
        "wandb-runs", {}, 92,
        {"n_params": 9714698752, "n_tokens": 4811128832, "flops": 300001905768.64 * 1e9, "loss": 3.2964468002319336},
    ),
    "wandb_runs_table_small.csv": ("wandb-runs", {}, 24, {"loss": 3.3392860889434814}),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_is_recognised_and_read_to_its_last_losses(name, reference):
    kind, columns, count, expected = SAMPLES[name]
    path = reference(f"log-formats/{name}")
    assert find(path.read_bytes(), str(path)).name == kind
    runs = read_runs(path, columns=columns)
    assert len(runs) == runs["run"].nunique() == count
    for column, value in expected.items():
        assert runs[column].iloc[-1] == value, column
    assert read_runs(path, columns=columns, format=kind).equals(runs)
    text = describe_read(runs)
    assert name in text
    assert f"was read as {FORMATS[kind].title}." in text


QUIRKS = {
    # file: what `scaling check` must name of it, beside its format
    "hf_console_dicts.log": ("column_choice", "no_scale"),
    "lightning_metrics_small.csv": ("steps_from_zero", "column_choice"),
    "lightning_metrics_step_epoch.csv": ("steps_from_zero",),
    "litgpt_metrics.csv": ("sparse_rows", "lr_peak"),
    "megatron_stdout.log": ("samples_not_tokens", "skipped_iterations", "lr_peak", "unfinished"),
    "mlflow_metric_file_train_loss": ("scalar_export", "training_loss"),
    "olmo_console.log": ("training_loss", "unfinished"),
    "tensorboard_scalar.csv": ("scalar_export",),
    "wandb_panel_export_8runs.csv": ("wide_export", "training_loss"),
    "wandb_runs_table_levanter.csv": ("column_factor",),
    "wandb_runs_table_small.csv": ("loss_unit_suspect",),
}


@pytest.mark.parametrize("name", QUIRKS)
def test_check_names_the_quirks_of_each_sample(name, reference):
    said = CliRunner().invoke(main, ["check", str(reference(f"log-formats/{name}"))])
    assert said.exit_code == 0, said.output
    for code in QUIRKS[name]:
        assert f"  {code}: " in said.stdout


@pytest.mark.parametrize("name", ["hf_trainer_state.json", "wandb_history_olmo.csv"])
def test_check_asks_which_of_many_losses_is_meant(name, reference):
    said = CliRunner().invoke(main, ["check", str(reference(f"log-formats/{name}"))])
    assert said.exit_code == 2
    assert "columns that can be loss" in said.stderr
    assert "--column loss=" in said.stderr


def test_sizes_of_runs_come_from_a_sidecar_or_from_config_columns(reference, write):
    """The panel of eight runs has losses alone: N and D are joined by run name, or stand in columns of a configuration."""
    panel = reference("log-formats/wandb_panel_export_8runs.csv")
    names = list(read_runs(panel)["run"])
    meta = "name,n_params,n_tokens\n" + "".join(f"{n},{i + 1}e6,{i + 1}e9\n" for i, n in enumerate(names))
    runs = read_runs(panel, meta=write(meta, "meta.csv"))
    assert runs["n_params"].tolist() == [1e6 * (i + 1) for i in range(8)]
    assert runs["flops"].tolist() == [6e15 * (i + 1) ** 2 for i in range(8)]
    table = write(
        "Name,config.n_params,config.max_tokens,eval/loss\na,1e6,2e9,3.5\nb,2e6,4e9,3.1\n", "wandb_export.csv"
    )
    runs = read_runs(table, columns={"n_tokens": "config.max_tokens"})
    assert runs[["n_params", "n_tokens", "loss"]].to_numpy().tolist() == [[1e6, 2e9, 3.5], [2e6, 4e9, 3.1]]


def test_no_other_reference_table_is_taken_for_a_log(reference):
    folder = reference("log-formats").parent
    tables = [
        p for p in folder.rglob("*.csv") if p.parent.name not in ("log-formats", "olmo-ladder", "lr-schedule-curves")
    ]
    assert len(tables) > 15
    assert {p.name: f.name for p in tables if (f := find(p.read_bytes(), str(p))) is not None} == {}


def test_history_of_one_run_keeps_every_evaluation(reference):
    path = reference("log-formats/wandb_history_olmo.csv")
    column = "eval/pile-validation/CrossEntropyLoss"
    with pytest.raises(RunsError, match="11 columns that can be loss"):
        read_runs(path)
    runs = read_runs(path, columns={"loss": column}, final=False)
    raw = pd.read_csv(path)
    assert np.array_equal(runs["loss"], raw[column])
    assert np.array_equal(runs["step"], raw["_step"])
    assert "counts log calls" in notes(runs, "log_calls")[0]


def test_trainer_state_keeps_sets_apart_and_ignores_the_mean_over_the_run(reference):
    path = reference("log-formats/hf_trainer_state.json")
    with pytest.raises(RunsError, match="columns that can be loss"):  # six held-out sets, none of them the loss
        read_runs(path)
    runs = read_runs(path, columns={"loss": "eval_g1_loss"}, final=False)
    entries = json.loads(path.read_text())["log_history"]
    logged = [e for e in entries if "eval_g1_loss" in e]
    assert runs["step"].tolist() == [e["step"] for e in logged]
    assert runs["loss"].tolist() == [e["eval_g1_loss"] for e in logged]
    assert np.array_equal(runs["flops"].notna(), runs["step"] == 12030)
    assert "train_runtime" not in runs


def test_text_logs_keep_every_point(reference):
    def curve(name, **more):
        return read_runs(reference(f"log-formats/{name}"), final=False, **more)

    nano = curve("nanogpt_stdout.log")
    assert nano["step"].tolist() == [0, 200]
    assert nano["loss"].tolist() == [4.4402, 2.4601]
    per_step = curve("nanogpt_stdout.log", columns={"loss": "train_loss_iter"})
    assert per_step["step"].iloc[-1] == 217
    assert per_step["mfu"].isna().sum() == 5  # -100 % at the start
    assert per_step["mfu"].iloc[-1] == pytest.approx(1.0607, abs=0.005)
    modded = curve("modded_nanogpt.log")
    text = reference("log-formats/modded_nanogpt.log").read_text()
    assert len(modded) == text.count(" val_loss:")
    assert modded["loss"].iloc[0] == 16.0058
    assert modded["step_avg_ms"].isna().iloc[0]  # 'nanms'
    llmc = curve("llmc_main.log")
    assert len(llmc) == reference("log-formats/llmc_main.log").read_text().count("tel:")
    megatron = curve("megatron_stdout.log", columns={"loss": "train_loss"})
    text = reference("log-formats/megatron_stdout.log").read_text()
    assert len(megatron) == text.count("| lm loss: ")
    assert megatron["step"].tolist() == list(range(20, 201, 10))
    assert notes(megatron, "skipped_iterations")
    assert notes(megatron, "samples_not_tokens")
    olmo = curve("olmo_console.log")
    assert olmo["loss"].tolist() == [9.871, 8.942]
    assert olmo["n_tokens"].tolist() == [5_242_880, 10_485_760]
    assert olmo["train/Perplexity"].tolist()[0] == 19361


# -- text logs -----------------------------------------------------------------------------------------------------


def test_nanogpt_states_its_size_its_tokens_and_its_plan(write):
    path = write(
        "Overriding: max_iters = 600\ntokens per iteration will be: 491,520\nnumber of parameters: 123.59M\n"
        "step 0: train loss 10.9, val loss 10.8\niter 0: loss 10.9, time 9.0ms, mfu -100.00%\n"
        "step 500: train loss 3.5, val loss 3.6\niter 500: loss 3.4, time 9.0ms, mfu 40.00%\n"
        "step 600: train loss 3.3, val loss 3.4\n",
        "gpt2.out",
    )
    row = read_runs(path).iloc[0]
    assert (row["run"], row["n_params"], row["n_tokens"], row["loss"]) == ("gpt2", 123.59e6, 600 * 491_520, 3.4)
    assert row["flops"] == 6 * 123.59e6 * 600 * 491_520


def test_modded_nanogpt_is_found_behind_the_program_text(write):
    program = "import torch\n" + "# padding of the program's own text\n" * 8000
    settings = (
        "class Hyperparameters:\n    batch_size : int = 8*64 # in sequences\n    device_batch_size : int = 64\n"
        '    sequence_length : int = 1024\nprint(f"step:{step}/{n} train_loss:{loss}")\n'
    )
    log = "step:0/20 val_loss:10.8 train_time:0ms step_avg:nanms\nstep:20/20 train_loss:4.4 train_time:9ms step_avg:1ms\nstep:20/20 val_loss:4.5 train_time:10ms step_avg:1ms\n"
    row = read_runs(write(program + settings + log, "run.log")).iloc[0]
    assert (row["step"], row["loss"], row["train_loss"], row["n_tokens"]) == (20, 4.5, 4.4, 20 * 512 * 1024)


def test_a_resumed_log_is_counted_from_where_it_resumed(write):
    log = "s:0 tel:11\ns:100 trl:6.0\ns:100 tel:6.1\ns:200 trl:5.0\ns:200 tel:5.1\ns:100 trl:6.2\ns:100 tel:6.3\ns:150 tel:5.8\n"
    runs = read_runs(write(log, "main.log"), final=False)
    assert runs["step"].tolist() == [0, 100, 150]
    assert runs["loss"].tolist() == [11, 6.3, 5.8]
    assert "goes back to step 100 (resumed): 2 earlier rows" in notes(runs, "resumed")[0]


def test_a_log_that_diverged_gives_no_run(write):
    good = write("s:0 tel:11\ns:100 tel:6.0\n", "good.log")
    bad = write("s:0 tel:11\ns:100 tel:nan\n", "bad.log")
    runs = read_runs([good, bad])
    assert runs["run"].tolist() == ["good"]
    assert dropped(runs) == {"diverged": 2}


def test_interleaved_ranks_count_once(write):
    line = " iteration 10/ 20 | consumed samples: 40 | learning rate: 1.000E-04 | lm loss: 5.0E+00 | grad norm: 1.0 |"
    end = " iteration 20/ 20 | consumed samples: 100 | learning rate: 1.000E-05 | lm loss: 4.0E+00 |[Rank 7] memory (MB) | allocated: 2.0"
    text = f"  seq_length ...................................... 2048\n{line}\n{line}\n{end}\n"
    runs = read_runs(write(text, "m.log"), final=False)
    assert runs["step"].tolist() == [10, 20]
    assert runs["n_tokens"].tolist() == [40 * 2048, 100 * 2048]  # the batch grew: steps x batch size would be wrong
    assert not notes(runs, "repeated_steps")
    assert "allocated" not in runs


def test_console_dicts_of_several_ranks_count_once(write):
    text = "{'loss': 5.0, 'epoch': 0.1}\n{'loss': 5.0, 'epoch': 0.1}\r 1%|  | 1/10 {'eval_loss': '4.5', 'epoch': 0.1}\n"
    runs = read_runs(write(text, "slurm-1.out"), final=False)
    assert runs["loss"].tolist() == [4.5]
    assert "1 dict that repeats" in notes(runs, "several_ranks")[0]


# -- schedules -----------------------------------------------------------------------------------------------------


def schedule(end, planned):
    return f"step:0/{planned} val_loss:10\nstep:{end // 2}/{planned} val_loss:5\nstep:{end}/{planned} val_loss:4\n"


def test_runs_that_stopped_early_are_left_out_of_final_losses_and_counted(write):
    done, stopped = write(schedule(100, 100), "done.log"), write(schedule(60, 100), "stopped.log")
    runs = read_runs([done, stopped])
    assert runs["run"].tolist() == ["done"]
    assert dropped(runs) == {"unfinished": 1}
    assert "'stopped' (step 60 of 100)" in notes(runs, "unfinished")[0]
    assert read_runs([done, stopped], unfinished=True)["run"].tolist() == ["done", "stopped"]
    alone = read_runs(stopped)
    assert alone["loss"].tolist() == [4]
    assert "stopped before the planned end" in notes(alone, "unfinished")[0]
    with pytest.raises(RunsError, match="say unfinished=True"):
        read_runs(stopped, unfinished=False)


def test_a_table_of_runs_can_state_sizes_and_plans(write):
    logs = [
        write(f"s:0 tel:11\ns:{end} tel:{loss}\n", f"{run}.log") for run, end, loss in (("a", 100, 4.0), ("b", 50, 5.0))
    ]
    meta = write("run,n_params,n_tokens,planned_steps\na,1e6,2e7,100\nb,2e6,4e7,100\n", "runs.csv")
    runs = read_runs(logs, meta=meta)
    assert runs[["run", "n_params", "n_tokens", "loss"]].values.tolist() == [["a", 1e6, 2e7, 4.0]]
    assert dropped(runs)["unfinished"] == 1


def test_the_learning_rate_of_a_curve_is_its_peak_and_its_phases_are_said(write):
    text = "run,step,lr,val_loss\n" + "".join(
        f"a,{s},{lr},{5 - s / 100}\n" for s, lr in ((0, 0.0), (10, 1e-3), (20, 2e-3), (30, 1e-3), (40, 1e-4))
    )
    path = write(text, "c.csv")
    assert read_runs(path)["lr"].tolist() == [2e-3]
    curve = read_runs(path, final=False)
    assert curve["lr"].tolist() == [0, 1e-3, 2e-3, 1e-3, 1e-4]
    assert notes(curve, "warm_up")[0].startswith("2 rows")
    assert notes(curve, "mid_run_points")[0].startswith("2 rows")
    constant = read_runs(write("run,step,lr,val_loss\na,1,.1,5\na,2,.1,4\n", "d.csv"), final=False)
    assert not notes(constant, "warm_up")
    assert not notes(constant, "mid_run_points")


# -- trackers ------------------------------------------------------------------------------------------------------


def test_a_history_carries_counters_into_evaluation_rows(write):
    text = (
        "_step,_runtime,train/loss,throughput/total_tokens,trainer/global_step,eval/loss\n"
        "0,1,9.0,1000,10,\n1,2,8.0,2000,20,\n2,3,,,,8.5\n3,4,7.0,3000,30,\n"
    )
    runs = read_runs(write(text, "lm.csv"))
    row = runs.iloc[0]
    assert (row["run"], row["step"], row["n_tokens"], row["loss"]) == ("lm", 20, 2000, 8.5)
    assert notes(runs, "sparse_rows")
    assert "step is 'trainer/global_step'" in notes(runs, "log_calls")[0]


def test_a_panel_of_two_metrics_over_tokens_keeps_them_together(write):
    header = [
        "tokens",
        *(
            f"lm - {r} - {m}{b}"
            for r in "ab"
            for m in ("train/loss", "val/loss", "_step")
            for b in ("", "__MIN", "__MAX")
        ),
    ]
    rows = [
        ["1e6", *["5.0"] * 3, *[""] * 3, *["10"] * 3, *["6.0"] * 3, *["6.1"] * 3, *["10"] * 3],
        ["2e6", *["4.0"] * 3, *["4.5"] * 3, *["20"] * 3, *[""] * 9],
    ]
    text = "\n".join(",".join(f'"{c}"' for c in row) for row in [header, *rows])
    runs = read_runs(write(text, "panel.csv"), final=False).sort_values(["run", "step"])
    wanted = ["run", "step", "n_tokens", "loss", "train_loss"]
    assert runs[wanted].values.tolist() == [["lm - a", 20, 2e6, 4.5, 4.0], ["lm - b", 10, 1e6, 6.1, 6.0]]
    other = read_runs(write("step,a - x,a - y,loss\n1,2,3,4\n", "other.csv"))
    assert "a - x" in other


def test_the_state_of_a_tracked_run_is_said_and_not_judged(write):
    text = (
        '"Name","State","Runtime","n_params","eval/loss"\n"a","finished","9","1e6","4"\n"b","crashed","9","2e6","3.5"\n'
    )
    runs = read_runs(write(text, "w.csv"))
    assert runs["run"].tolist() == ["a", "b"]
    assert "1 of 2 runs" in notes(runs, "state_not_finished")[0]
    assert read_runs(write(text, "w.csv"), where="State=finished")["run"].tolist() == ["a"]


def test_giga_and_peta_flops_are_told_by_the_header(reference):
    runs = read_runs(reference("log-formats/wandb_runs_table_levanter.csv"))
    assert runs["flops"].iloc[0] == LEVANTER_GFLOPS * 1e9
    ratio = runs["flops"] / (6 * runs["n_params"] * runs["n_tokens"])
    assert ratio.between(0.3, 3).all()


def test_runs_of_one_name_in_mlflow_keep_their_ids(write):
    head = "run_id,experiment_id,status,artifact_uri,start_time,end_time,metrics.val_loss,params.n_params,tags.mlflow.runName\n"
    same = write(head + "a1,0,FINISHED,f,1,2,4.0,1000000,lm\nb2,0,FINISHED,f,1,2,3.5,2000000,lm\n", "same.csv")
    assert read_runs(same)["run"].tolist() == ["a1", "b2"]
    apart = write(head + "a1,0,FINISHED,f,1,2,4.0,1000000,lm-1\nb2,0,FINISHED,f,1,2,3.5,2000000,lm-2\n", "apart.csv")
    assert read_runs(apart)["run"].tolist() == ["lm-1", "lm-2"]


def test_a_file_store_is_read_run_by_run(write, tmp_path):
    for run, size, loss in (("aaa", 10_000_000, 4.4), ("bbb", 30_000_000, 4.1)):
        at = f"mlruns/0/{run}"
        write("status: 3\n", f"{at}/meta.yaml")
        write(f"lm-{size}", f"{at}/tags/mlflow.runName")
        write(str(size), f"{at}/params/n_params")
        write("1795231064623 1e9 100\n1795231064623 2e9 200\n", f"{at}/metrics/tokens_seen")
        write(
            f"1795231064623 nan 100\n1795231064623 9.0 200\n1795231064624 {loss} 200\n", f"{at}/metrics/eval/loss"
        )  # the last step twice: resumed
    write("status: 3\n", "mlruns/.trash/gone/meta.yaml")
    write("1 1 1\n", "mlruns/.trash/gone/metrics/eval/loss")
    runs = read_runs(tmp_path / "mlruns")
    assert runs["run"].tolist() == ["lm-10000000", "lm-30000000"]
    assert runs["loss"].tolist() == [4.4, 4.1]
    assert runs["n_params"].tolist() == [1e7, 3e7]
    assert runs["n_tokens"].tolist() == [2e9, 2e9]
    assert "1 value of" in notes(runs, "resumed")[0]


def test_a_damaged_metric_file_is_named_by_its_row(write):
    path = write("1795231064623 9.0 100\n1795231064623 8.0 2", "loss")
    assert read_runs(path, final=False)["step"].tolist() == [2, 100]
    with pytest.raises(RunsError, match="row 2: no line of an MLflow metric"):
        read_runs(write("1795231064623 9.0 100\nhello\n", "loss"))


def test_event_files_are_read_as_their_writer_meant_them(write, tmp_path):
    content = zlib.decompress(base64.b64decode(EVENTS))
    path = write(content, "runs/lm-30M/events.out.tfevents.1.host.1.0")
    curve = read_runs(path, columns={"loss": "train/loss"}, final=False)
    assert curve["run"].tolist() == ["lm-30M", "lm-30M"]
    assert curve["step"].tolist() == [10, 20]
    assert curve["loss"].tolist() == [5.5, 4.125]
    assert curve["wall_time"].tolist() == [1000.5, 1003.5]
    assert "goes back to step 20" in notes(curve, "resumed")[0]
    final = read_runs(tmp_path / "runs")
    assert final[["run", "loss", "n_tokens"]].values.tolist() == [["lm-30M", 4.25, 81920.0]]


def test_an_event_file_cut_anywhere_ends_in_a_table_or_a_sentence():
    content = zlib.decompress(base64.b64decode(EVENTS))
    lengths = []
    for end in range(24, len(content)):
        cut, refused = attempt(lambda end=end: parse_bytes(content[:end], "a.tfevents"))
        assert cut is not None or "a.tfevents" in refused
        lengths.append(len(cut.rows) if cut else 0)
    assert lengths[0] == 0
    assert max(lengths) == 3  # before the restart, with step 30
    for position in range(0, len(content), 3):
        damaged = content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]
        read, refused = attempt(lambda d=damaged: parse_bytes(d, "a.tfevents", format="tensorboard-events"))
        assert read is not None or "a.tfevents" in refused


def test_a_scalar_download_names_its_run_and_drops_what_a_restart_went_back_over(write):
    path = write("Wall time,Step,Value\n1,10,5\n2,20,4\n3,30,3\n4,20,4.5\n5,25,4.2\n", "run-lm-30M-tag-val_loss.csv")
    runs = read_runs(path, final=False)
    assert runs["run"].unique().tolist() == ["lm-30M"]
    assert runs["step"].tolist() == [10, 20, 25]
    assert runs["loss"].tolist() == [5, 4.5, 4.2]
    assert "2 rows before it superseded" in notes(runs, "resumed")[0]
    other = read_runs(write("Wall time,Step,Value\n1,10,5\n", "run-x-tag-train_loss.csv"))
    assert notes(other, "training_loss")


def test_files_of_one_name_are_told_apart_by_their_folders(write, tmp_path):
    csv = "epoch,step,train_loss,val_loss\n0,49,5.0,\n0,49,,{}\n"
    for version, loss in ((0, 4.5), (1, 4.25)):
        write(csv.format(loss), f"lm/version_{version}/metrics.csv")
    runs = read_runs(tmp_path / "lm")
    assert runs["run"].tolist() == ["lm/version_0", "lm/version_1"]
    assert runs["loss"].tolist() == [4.5, 4.25]
    assert runs["train_loss"].tolist() == [5, 5]
    assert runs["step"].tolist() == [50, 50]


def test_the_last_checkpoint_of_a_trainer_stands_for_its_run(write, tmp_path):
    for steps in (500, 1000):
        history = [{"step": s, "eval_loss": 9 - s / 500} for s in range(500, steps + 1, 500)]
        state = {"global_step": steps, "max_steps": 1000, "log_history": history}
        write(json.dumps(state), f"out/lm/checkpoint-{steps}/trainer_state.json")
    runs = read_runs(tmp_path / "out")
    assert runs[["run", "step", "loss"]].values.tolist() == [["lm", 1000, 7]]
    assert len(runs.attrs["read"]["files"]) == 1


def test_a_trainer_state_with_nan_or_cut_off(write):
    text = '{"global_step": 20, "log_history": [{"step": 10, "eval_loss": 5.0, "grad_norm": NaN}, {"step": 20, "eval_loss": NaN}]}'
    runs = read_runs(write(text, "trainer_state.json"), final=False)
    assert runs["loss"].tolist() == [5]
    assert dropped(runs) == {"loss_not_finite": 1}
    with pytest.raises(RunsError, match=r"no whole trainer_state\.json"):
        read_runs(write(text[:-30], "trainer_state.json"))


def test_lightning_steps_logged_twice_are_counted(write):
    text = "epoch,step,train_loss,val_loss\n0,49,5.0,\n0,99,4.0,\n0,99,3.9,\n0,99,,3.8\n"
    runs = read_runs(write(text, "a.csv"))
    assert runs[["step", "loss", "train_loss"]].values.tolist() == [[100, 3.8, 3.9]]
    assert "1 step of" in notes(runs, "resumed")[0]


# -- units, names, formats -----------------------------------------------------------------------------------------


def test_bits_per_byte_become_nats_per_token_when_told_the_bytes_of_a_token(write):
    path = write("run,n_params,val_bpb\na,1e6,1.0\nb,2e6,0.9\n", "bpb.csv")
    assert read_runs(path)["loss"].tolist() == [1.0, 0.9]
    assert read_runs(path).attrs["read"]["loss_unit"] == "bits/byte"
    runs = read_runs(path, bytes_per_token=4.2)
    assert runs["loss"].tolist() == pytest.approx([4.2 * math.log(2), 0.9 * 4.2 * math.log(2)])
    assert runs.attrs["read"]["loss_unit"] == "nats/token"
    assert "4.2 bytes per token" in notes(runs, "loss_converted")[0]
    with pytest.raises(RunsError, match="would need the number of bytes per token"):
        read_runs(path, loss_unit="nats")
    assert read_runs(path, loss_unit="nats", bytes_per_token=4.2)["loss"].tolist() == runs["loss"].tolist()
    with pytest.raises(RunsError, match="bytes_per_token is '0'"):
        read_runs(path, bytes_per_token=0)


def test_a_held_out_loss_of_any_name_goes_before_the_training_loss(write):
    path = write("step,train/loss,eval/web/CrossEntropyLoss\n1,5,5.5\n2,4,4.5\n", "a.csv")
    assert read_runs(path)["loss"].tolist() == [4.5]


@pytest.mark.parametrize("law", sorted(n for n, law in LAWS.items() if law.target == "loss"))
def test_the_inputs_of_every_law_arrive_as_numbers(law, write):
    inputs = LAWS[law].inputs
    header = ",".join(["run", *(f"{name}" for name in inputs if name != "loss"), "val_loss"])
    cells = ["10k" if name not in ("sparsity", "step") else "12" for name in inputs if name != "loss"]
    path = write(f"{header}\n" + "".join(f"{r},{','.join(cells)},{3 + i}\n" for i, r in enumerate("abc")), "l.csv")
    runs = read_runs(path, required=inputs)
    for name in inputs:
        assert runs[name].dtype == np.float64, name
        assert runs[name].notna().all(), name
    if "n_samples" in inputs:
        assert runs["n_samples"].tolist() == [1e4] * 3


def test_a_required_column_that_holds_no_number_is_refused(write):
    path = write("run,n_samples,val_loss\na,1 2,3\n", "l.csv")
    with pytest.raises(RunsError, match="row 2, column 'n_samples'"):
        read_runs(path, required=("n_samples",))


def test_a_format_that_does_not_exist_or_does_not_fit_is_refused(write):
    path = write("run,step,val_loss\na,1,3\n", "l.csv")
    with pytest.raises(RunsError, match=r"unknown format 'nanogtp'; known: table, .*Did you mean 'nanogpt'"):
        read_runs(path, format="nanogtp")
    assert len(read_runs(path, format="table")) == 1
    for name in FORMATS:
        runs, refused = attempt(lambda name=name: read_runs(path, format=name))
        assert "l.csv" in refused if runs is None else runs["loss"].tolist() == [3], name


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\x00\xff\x00", b"{", b"a,b\n", b"1 2 3\n", b"s:1 tel:x\n", b"\xff" * 100]
)
def test_any_content_read_as_any_format_ends_in_a_table_or_a_sentence(name, content):
    read, refused = attempt(lambda: parse_bytes(content, "odd.log", format=name))
    if read is None:
        assert refused.isprintable()
        assert "odd.log" in refused
    else:
        assert {len(v) for v in read.columns.values()} == {len(read.rows)}


# -- large and many ------------------------------------------------------------------------------------------------


def curves_csv(n_runs=12, n_steps=300, **changes):
    """Interleaved curves of several runs, as a logger that writes them all to one file leaves them."""
    rng = np.random.default_rng(5)
    step, run = (g.ravel() for g in np.meshgrid(np.arange(1, n_steps + 1), np.arange(n_runs), indexing="ij"))
    frame = pd.DataFrame(
        {
            "run": [f"run {r}, é" if r % 5 == 0 else f"run-{r}" for r in run],
            "step": step * 10,
            "n_params": 1e6 * 2.0**run,
            "n_tokens": step * 10 * 2**16,
            "lr": 1e-3 * np.minimum(step / 20, 1 - 0.9 * step / n_steps),
            "val_loss": (2 + 5 / step**0.3 + 0.01 * rng.standard_normal(len(step))).astype(object),
        }
    )
    for row, value in changes.pop("loss", {}).items():
        frame.loc[row, "val_loss"] = value
    return frame


@pytest.mark.parametrize(
    "loss",
    [
        {},
        {12 * 300 - 3: "nan", 12 * 300 - 1: None, 12 * 300 - 2: "inf", 40: "nan", 12 * 150: "oops"},
        dict.fromkeys(range(12 * 200, 12 * 300)),
    ],
    ids=["sound", "diverged-and-missing", "not-evaluated-at-the-end"],
)
@pytest.mark.parametrize("block", [1 << 10, 1 << 14])
def test_a_large_file_read_in_parts_gives_what_it_gives_whole(loss, block, write, monkeypatch):
    path = write(curves_csv(loss=loss).to_csv(index=False), "curves.csv")
    whole = read_runs(path)
    monkeypatch.setattr(large, "LARGE", 1000)
    monkeypatch.setitem(large.last_rows_of_file.__kwdefaults__, "block_bytes", block)
    parts = read_runs(path)
    pd.testing.assert_frame_equal(parts, whole)
    ours, theirs = parts.attrs["read"], whole.attrs["read"]
    assert ours["files"] == theirs["files"]  # the checksum and the count of rows are the whole file's
    assert ours["n_rows"] == theirs["n_rows"]
    assert notes(parts, "read_in_parts")
    assert {d["code"] for d in ours["dropped"]} >= {"diverged"} & {d["code"] for d in theirs["dropped"]}
    assert not notes(whole, "read_in_parts")
    limited = read_runs(path, max_bytes=2000)  # a limit against what does not fit in memory: this does
    assert limited["loss"].tolist() == whole["loss"].tolist()


def test_rows_of_a_large_file_keep_their_line_numbers(write, monkeypatch):
    frame = curves_csv(loss={12 * 300 - 1: -1.0})
    path = write(frame.to_csv(index=False), "curves.csv")
    monkeypatch.setattr(large, "LARGE", 1000)
    runs = read_runs(path)
    assert [d["examples"] for d in runs.attrs["read"]["dropped"] if d["code"] == "loss_not_positive"] == [
        ["row 3601 (-1)"]
    ]


@pytest.mark.parametrize(
    "text",
    [
        "run,val_loss\n" + "a,3\n" * 1000,  # no order
        "run,step,val_loss,why\n" + 'a,1,3,"two\nlines"\n' * 500,
        "n_params,step,val_loss\n" + "".join(f"{n}e6,10,3\n" for n in range(1, 1000)),  # each row is a run
        "run;step;val_loss\n" + "".join(f"a;{s};3,{s:02d}\n" for s in range(1, 90)),
    ],
    ids=["no-order", "line-breaks", "rows-are-runs", "decimal-commas"],
)
def test_a_large_file_of_another_shape_is_read_whole(text, write, monkeypatch):
    path = write(text, "a.csv")
    whole = read_runs(path)
    monkeypatch.setattr(large, "LARGE", 100)
    runs = read_runs(path)
    pd.testing.assert_frame_equal(runs, whole)
    assert not notes(runs, "read_in_parts")


def test_a_store_of_a_thousand_runs_is_read_in_one_table(write, tmp_path):
    for i in range(1000):
        write(f"epoch,step,train_loss,val_loss\n0,49,5.0,\n0,49,,{3 + i / 1000}\n", f"lm/version_{i}/metrics.csv")
    runs = read_runs(tmp_path / "lm")
    assert runs["run"].nunique() == 1000
    assert runs.set_index("run").at["lm/version_999", "loss"] == 3.999
    assert len(runs.attrs["read"]["notes"]) < 20  # one quirk of a thousand files is not a thousand notes
