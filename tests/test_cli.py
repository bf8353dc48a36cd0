"""The command: tables for people, one JSON document for programs, one sentence and exit code 2 for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import scaling
from scaling.cli import main
from scaling.commands.columns import shares


def chinchilla_loss(n, d):
    return 1.8 + 480 * n**-0.35 + 2100 * d**-0.37


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Simulated runs: 5 budgets x 7 sizes, in two families."""
    rng = np.random.default_rng(0)
    rows = []
    for family, shift in (("web", 1.0), ("code", 0.8)):
        for c in 10.0 ** np.arange(18, 20.5, 0.5):
            for n in np.sqrt(c / 120) * 2.0 ** np.arange(-3, 4):
                d = c / 6 / n
                loss = shift * chinchilla_loss(n, d) * np.exp(rng.normal(0, 0.003))
                rows.append((f"{family}-{c:.0e}-{n:.0e}", family, n, d, loss))
    path = tmp_path_factory.mktemp("runs") / "sweep.csv"
    pd.DataFrame(rows, columns=["run", "family", "params", "tokens", "eval/loss"]).to_csv(path, index=False)
    return path


def call(*arguments, stdin=None):
    return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin, prog_name="scaling")


def schema(name):
    return json.loads(files("scaling").joinpath("schemas", f"{name}.schema.json").read_text())


def one_sentence(result):
    """Exit 2, nothing on standard output, one readable line and no traceback."""
    assert result.exit_code == 2, (result.exit_code, result.stderr, result.exception)
    assert result.stdout == ""
    assert result.stderr.startswith("scaling: error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr


def test_check_says_what_was_understood(sweep):
    result = call("check", sweep, "--column", "loss=eval/loss")
    assert result.exit_code == 0
    assert "70 rows read, 70 used" in result.stdout
    assert "n_params" in result.stdout
    assert "several_groups" not in result.stderr
    document = json.loads(call("check", sweep, "--column", "loss=eval/loss", "--json").stdout)
    assert document["schema"] == "scaling.check/1"
    assert document["mapping"]["loss"]["column"] == "eval/loss"


def test_fit_prints_coefficients_with_intervals_and_a_status(sweep):
    result = call("fit", sweep, "--column", "loss=eval/loss", "--where", "family=web", "--resamples", 200)
    assert result.exit_code == 0
    assert "L(N, D) = E + A / N^alpha + B / D^beta" in result.stdout
    assert "converged" in result.stdout
    assert "200 resamples" in result.stdout


def test_fit_json_meets_its_schema_and_nothing_else_is_printed(sweep):
    result = call("fit", sweep, "--column", "loss=eval/loss", "--where", "family=web", "--resamples", 100, "--json")
    document = json.loads(result.stdout)
    jsonschema.validate(document, schema("fit"))
    estimate = document["coefs"]["alpha"]
    assert estimate["low"] < 0.35 < estimate["high"]
    assert document["provenance"]["files"][0]["rows"] == 70


@pytest.mark.parametrize("method", ["recommended", "profile", "wild"])
def test_intervals_by_a_method_of_choice_are_those_of_the_library(sweep, method):
    words = (
        "fit",
        sweep,
        "--column",
        "loss=eval/loss",
        "--where",
        "family=web",
        "--resamples",
        "0",
        "--interval",
        method,
    )
    document = json.loads(call(*words, "--json").stdout)
    jsonschema.validate(document, schema("fit"))
    runs = scaling.read_runs(sweep, columns={"loss": "eval/loss"}, where=["family=web"])
    table = scaling.intervals_table(scaling.fit("chinchilla", runs), method=method)
    for row, expected in zip(document["intervals"], table.to_dict("records"), strict=True):
        assert row["quantity"] == expected["quantity"]
        assert (row["low"], row["high"]) == pytest.approx((expected["low"], expected["high"]))
    assert f"intervals, {method} (95%)" in call(*words).stdout


def test_equal_calls_print_equal_numbers_and_the_seed_changes_the_intervals(sweep):
    def run(seed):
        return call("fit", sweep, "--column", "loss=eval/loss", "--resamples", 50, "--json", "--seed", seed).stdout

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_groups_are_fitted_in_one_call_and_a_failed_one_is_listed(sweep, tmp_path):
    result = call("fit", sweep, "--column", "loss=eval/loss", "--by", "family", "--resamples", 0, "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    jsonschema.validate(document, schema("fit"))
    assert [f["group"] for f in document["fits"]] == [{"family": "code"}, {"family": "web"}]
    table = pd.read_csv(sweep)
    few = pd.concat([table, table.head(2).assign(family="few")])
    few.to_csv(tmp_path / "few.csv", index=False)
    partial = call("fit", tmp_path / "few.csv", "--column", "loss=eval/loss", "--by", "family", "--resamples", 0)
    assert partial.exit_code == 3
    assert "group family=few failed" in partial.stderr
    assert "code" in partial.stdout


def test_a_saved_fit_gives_the_plan_of_the_fit_itself(sweep, tmp_path):
    saved = tmp_path / "fit.json"
    options = ("--column", "loss=eval/loss", "--where", "family=web", "--resamples", 100)
    assert call("fit", sweep, *options, "--out", saved).exit_code == 0
    from_file = json.loads(call("plan", "--fit", saved, "--flops", "1e21", "--json").stdout)
    direct = json.loads(call("plan", sweep, *options, "--flops", "1e21", "--json").stdout)
    jsonschema.validate(from_file, schema("plan"))
    assert from_file["n_params"] == pytest.approx(direct["n_params"])
    assert from_file["loss"] == pytest.approx(direct["loss"])


def test_a_plan_for_each_kind_of_budget(sweep):
    published = ("plan", "--published", "besiroglu2024")
    for budget in (
        ("--flops", "5.76e23"), ("--loss", "2.0"), ("--gpus", 512, "--accelerator", "H100", "--days", "30d", "--mfu", "40%"),
        ("--usd", "$2.5M", "--accelerator", "A100"), ("--flops", "1e21", "--flops", "1e22"),
    ):  # fmt: skip
        document = json.loads(call(*published, *budget, "--json").stdout)
        jsonschema.validate(document, schema("plan"))
        assert call(*published, *budget).stdout


def test_a_plan_from_runs_answers_first_and_then_shows_the_law(sweep):
    page = call(
        "plan", sweep, "--column", "loss=eval/loss", "--where", "family=web", "--resamples", 50, "--flops", "1e21"
    ).stdout
    assert page.startswith("Train ")
    assert page.index("What binds") < page.index("L(N, D) = E + A / N^alpha + B / D^beta\n35 runs")


def test_the_analyses_of_curves_and_of_laws_print_a_finding_and_json(sweep):
    root = Path(__file__).resolve().parents[1] / "data"
    for arguments, schema_of in (
        (("descent", root / "double_descent" / "width.csv", "--where", "ridge=0", "--where", "label_noise=0"), "scaling.descent/1"),
        (("grokking", root / "grokking" / "curves.csv"), "scaling.grokking/1"),
        (("isoflop", root / "ladder" / "runs.csv", "--resamples", 50), "scaling.isoflop/1"),
        (("compare", sweep, "--column", "loss=eval/loss", "--where", "family=web", "--law", "chinchilla", "--law", "power_c", "--resamples", 20), "scaling.compare/1"),
        (("emergence", root / "emergence" / "addition.csv", "--score", "exact_match", "--x", "n_params", "--items", "n_items"), "scaling.emergence/1"),
    ):  # fmt: skip
        human, document = call(*arguments), call(*arguments, "--json")
        assert human.exit_code == document.exit_code == 0, human.stderr
        assert json.loads(document.stdout)["schema"] == schema_of
        assert human.stdout.splitlines()[0].endswith((".", "is within the interval."))


DATA = Path(__file__).resolve().parents[1] / "data"
REPORTS = {  # command -> what its report says
    ("fit", "ladder/runs.csv", "--resamples", "20"): ("model-size exponent", "456 rows read"),
    ("plan", "ladder/runs.csv", "--resamples", "20", "--flops", "1e14"): ("Train ", "model-size exponent"),
    ("compare", "ladder/runs.csv", "--law", "chinchilla", "--law", "kaplan", "--resamples", "20"): ("Which law extrapolates best?",),
    ("isoflop", "ladder/runs.csv", "--resamples", "20"): ("Best size of each budget",),
    ("design", "ladder/runs.csv", "--flops", "1e14", "--spend", "1e12"): ("Which runs next", "model-size exponent"),
    ("descent", "double_descent/width.csv", "--by", "ridge", "--where", "label_noise=0"): ("ridge = 0",),
    ("emergence", "emergence/addition.csv", "--score", "exact_match", "--items", "n_items", "--parts", "per_digit", "--by", "seed"): ("Sudden", "The answer and its parts", "One curve for each seed?"),
    ("grokking", "grokking/curves.csv", "--over", "train_fraction"): ("Grokking in 4 of 24 runs", "Law of the delay"),
    ("laws", "chinchilla"): ("besiroglu2024",),
}  # fmt: skip


@pytest.mark.parametrize("command", REPORTS, ids=lambda c: c[0])
def test_a_report_takes_the_answer_along(command, tmp_path):
    arguments = [DATA / a if a.endswith(".csv") else a for a in command]
    result = call(*arguments, "--report", tmp_path / "r.html")
    assert result.exit_code == 0, result.stderr
    text = (tmp_path / "r.html").read_text()
    for words in REPORTS[command]:
        assert words in text
    assert text.count("<script") == 2
    assert "written as .html" in one_sentence(call(*arguments, "--report", "r.pdf"))


def test_the_report_of_a_store(tmp_path):
    call(
        "refit",
        DATA / "ladder" / "runs.csv",
        "--law",
        "kaplan",
        "--store",
        tmp_path / "s",
        "--resamples",
        20,
        "--workers",
        1,
    )
    assert call("report", "--store", tmp_path / "s", "--out", tmp_path / "r.html").exit_code == 0
    assert "State of each group" in (tmp_path / "r.html").read_text()
    one_sentence(call("report", DATA / "ladder" / "runs.csv", "--store", tmp_path / "s", "--out", tmp_path / "r.html"))


NAMED_OPTIONS = {
    "no score": (("emergence", "emergence/addition.csv"), ("--score exact_match", "--score per_digit")),
    "a score misspelled": (("emergence", "emergence/addition.csv", "--score", "exact-match"), ("mean 'exact_match'",)),
    "a score that is no share": (("emergence", "emergence/addition.csv", "--score", "loss"), ("--score exact_match",)),
    "no scale": (("emergence", "emergence/addition.csv", "--score", "per_digit", "--x", "size"), ("--x: column 'size'",)),
    "a scale with zeros": (("emergence", "emergence/addition.csv", "--score", "per_digit", "--x", "seed"), ("--where", "--x")),
    "no items": (("emergence", "emergence/addition.csv", "--score", "per_digit", "--items", "0"), ("--items must",)),
    "no rate of parts": (("emergence", "emergence/addition.csv", "--score", "exact_match", "--items", "2000", "--parts", "digits"), ("Choose it with --parts per_digit",)),
    "names for a score": (("emergence", "emergence/addition.csv", "--score", "run"), ("--score exact_match",)),
    "seeds for a rate of parts": (("emergence", "emergence/addition.csv", "--score", "exact_match", "--items", "2000", "--parts", "seed"), ("Choose it with --parts per_digit",)),
    "families of one model": (("emergence", "emergence/addition.csv", "--score", "exact_match", "--by", "run"), ("families of models with --by",)),
    "no axis": (("descent", "double_descent/width.csv", "--axis", "depth"), ("--axis: column 'depth'",)),
    "an axis with one value": (("descent", "double_descent/samples.csv"), ("Choose it with --axis n_samples.",)),
    "an axis with zeros": (("descent", "double_descent/width.csv", "--axis", "label_noise"), ("--axis or --value",)),
    "no axis by name": (("descent", "emergence/addition.csv", "--value", "loss", "--train", "accuracy"), ("--train: column",)),
    "no errors by name": (("descent", "emergence/addition.csv", "--where", "width>0", "--axis", "width", "--by", "noise"), ("--by: column",)),
    "no training accuracy": (("grokking", "ladder/runs.csv"), ("Name it with --train.",)),
    "no validation accuracy": (("grokking", "ladder/runs.csv", "--train", "loss"), ("Name it with --validation.",)),
    "no steps": (("grokking", "grokking/curves.csv", "--step", "epoch"), ("--step: column 'epoch'",)),
    "a loss for an accuracy": (("grokking", "grokking/curves.csv", "--validation", "val_loss"), ("--train, --validation or --step",)),
    "several runs in one": (("grokking", "grokking/curves.csv", "--run", "seed"), ("tells the runs apart with --run",)),
    "no setting": (("grokking", "grokking/curves.csv", "--over", "dropout"), ("--over: column 'dropout'",)),
    "no sizes to compare on": (("compare", "grokking/curves.csv", "--law", "chinchilla"), ("--column n_params=HEADER", "--meta")),
    "no sizes": (("isoflop", "grokking/curves.csv"), ("--column n_params=HEADER", "--meta")),
    "no training curves": (("isoflop", "ladder/lr_sweep.csv", "--envelope"), ("leave --envelope away",)),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "options"), NAMED_OPTIONS.values(), ids=NAMED_OPTIONS)
def test_a_column_that_is_missing_is_refused_with_the_option_that_names_it(arguments, options):
    command, file, *more = arguments
    text = one_sentence(call(command, DATA / file, *more))
    assert all(option in text for option in options), text


def test_columns_of_shares_are_told_from_seeds_flags_and_sizes():
    table = pd.DataFrame({
        "size": [1, 2, 3], "seed": [0, 1, 0], "right": [0.0, 0.5, 1.0], "percent": [0.0, 50.0, 99.5],
        "all the same": 0.5, "known for some": [0.2, np.nan, 0.3], "name": ["a", "b", "c"],
    })  # fmt: skip
    assert shares(table) == ["right", "known for some"]


def test_steps_of_any_name_are_read(tmp_path):
    table = pd.read_csv(DATA / "grokking" / "curves.csv")
    table.rename(columns={"step": "epoch"}).to_csv(tmp_path / "curves.csv", index=False)
    renamed = call("grokking", tmp_path / "curves.csv", "--step", "epoch")
    assert renamed.exit_code == 0, renamed.stderr
    assert renamed.stdout == call("grokking", DATA / "grokking" / "curves.csv").stdout


def test_a_refit_computes_once_and_reports(sweep, tmp_path):
    table = pd.read_csv(sweep).rename(columns={"eval/loss": "loss"})
    table.to_csv(tmp_path / "runs.csv", index=False)
    arguments = (
        "refit",
        tmp_path / "runs.csv",
        "--law",
        "chinchilla",
        "--by",
        "family",
        "--store",
        tmp_path / "store",
        "--workers",
        1,
    )
    assert json.loads(call(*arguments, "--json").stdout) == {
        "schema": "scaling.refit/1",
        "fits": 2,
        "computed": 2,
        "failed": 0,
    }
    assert json.loads(call(*arguments, "--json").stdout)["computed"] == 0
    assert "converged" in call("refit", "--store", tmp_path / "store", "--status").stdout
    assert call("refit", "--store", tmp_path / "store", "--export", tmp_path / "fits.csv").exit_code == 0
    assert "alpha" in (tmp_path / "fits.csv").read_text()
    one_sentence(call("refit", tmp_path / "runs.csv", "--law", "chinchilla"))


@pytest.mark.parametrize("kind", [".svg", ".png", ".html"])
def test_a_chart_is_written(sweep, tmp_path, kind):
    path = tmp_path / f"fit{kind}"
    result = call(
        "fit", sweep, "--column", "loss=eval/loss", "--where", "family=web", "--resamples", 20, "--chart", path
    )
    assert result.exit_code == 0, result.stderr
    assert path.stat().st_size > 5000


def test_standard_input_is_a_source(sweep):
    result = call("fit", "-", "--column", "loss=eval/loss", "--resamples", 0, "--json", stdin=sweep.read_bytes())
    assert json.loads(result.stdout)["n_runs"] == 70


def test_reference_commands_list_and_explain():
    assert "chinchilla" in call("laws").stdout
    assert "irreducible loss" in call("laws", "chinchilla").stdout
    assert "besiroglu2024" in call("published").stdout
    assert "2085" in call("published", "besiroglu2024").stdout
    assert "H100-SXM" in call("accelerators").stdout
    for command in ("laws", "published", "accelerators"):
        assert len(json.loads(call(command, "--json").stdout)) >= 20
    assert json.loads(call("laws", "chinchilla", "--json").stdout)["name"] == "chinchilla"


def runs_csv(**columns):
    n = np.geomspace(1e7, 1e9, 12)
    d = np.geomspace(3e10, 1e9, 12) * np.tile([1, 3], 6)
    table = {"params": n, "tokens": d, "loss": chinchilla_loss(n, d)} | columns
    return pd.DataFrame({k: v for k, v in table.items() if v is not None}).to_csv(index=False)


PLAN = ("plan", "--published", "besiroglu2024")
BAD_CALLS = {
    "no runs": (("fit",), None, "no runs were named"),
    "no such file": (("fit", "nothing-here.csv"), None, "nothing-here.csv"),
    "empty input": (("fit", "-"), "", "empty"),
    "header only": (("fit", "-"), "params,tokens,loss\n", "no rows"),
    "no loss column": (("fit", "-"), runs_csv(loss=None), "loss"),
    "no size column": (("fit", "-"), runs_csv(params=None), "n_params"),
    "words in loss": (("fit", "-"), runs_csv(loss="high"), "loss"),
    "all losses negative": (("fit", "-"), runs_csv(loss=-1.0), "loss"),
    "fewer runs than coefficients": (("fit", "-"), "params,tokens,loss\n1e8,1e9,3\n2e8,1e9,2.9\n", "runs"),
    "unknown law": (("fit", "-", "--law", "chinchila"), runs_csv(), "did you mean chinchilla"),
    "unknown objective": (("fit", "-", "--objective", "hubert"), runs_csv(), "hubert"),
    "unknown group column": (("fit", "-", "--by", "dataset"), runs_csv(), "no such column"),
    "fixing what is not there": (("fit", "-", "--fix", "gamma=1"), runs_csv(), "gamma"),
    "fixing to a word": (("fit", "-", "--fix", "alpha=low"), runs_csv(), "alpha"),
    "a fix without a value": (("fit", "-", "--fix", "alpha"), runs_csv(), "NAME=VALUE"),
    "a mapping without a header": (("fit", "-", "--column", "loss"), runs_csv(), "NAME=VALUE"),
    "a mapping to nothing": (("fit", "-", "--column", "loss=eval"), runs_csv(), "eval"),
    "a condition that is code": (("fit", "-", "--where", "__import__('os')"), runs_csv(), "is no comparison"),
    "negative resamples": (("fit", "-", "--resamples", "-1"), runs_csv(), "-1"),
    "a chart of no known kind": (("fit", "-", "--chart", "x.pdf"), runs_csv(), "must end in"),
    "a chart in no folder": (("fit", "-", "--chart", "no/such/x.svg"), runs_csv(), "does not exist"),
    "unknown unit of loss": (("fit", "-", "--loss-unit", "nibbles"), runs_csv(), "nibbles"),
    "no law to plan with": (("plan", "--flops", "1e21"), None, "needs one law"),
    "two laws to plan with": ((*PLAN, "--fit", "x.json", "--flops", "1e21"), None, "--fit and --published"),
    "no budget": (PLAN, None, "no budget"),
    "two budgets": ((*PLAN, "--flops", "1e21", "--loss", "2"), None, "more than one budget"),
    "zero FLOPs": ((*PLAN, "--flops", "0"), None, "not positive"),
    "negative FLOPs": ((*PLAN, "--flops", "-1"), None, "not positive"),
    "nan FLOPs": ((*PLAN, "--flops", "nan"), None, "not a number"),
    "1e400 FLOPs": ((*PLAN, "--flops", "1e400"), None, "too large"),
    "an ambiguous number": ((*PLAN, "--flops", "5,000"), None, "5,000"),
    "an ambiguous unit": ((*PLAN, "--flops", "1e21", "--max-params", "70b"), None, "70B"),
    "an unknown accelerator": ((*PLAN, "--gpus", "8", "--accelerator", "H10", "--days", "3"), None, "did you mean"),
    "utilisation above one": ((*PLAN, "--gpus", "8", "--accelerator", "H100", "--days", "3", "--mfu", "4"), None, "fraction"),
    "days without accelerators": ((*PLAN, "--accelerator", "H100", "--days", "3"), None, "how many"),
    "a billion accelerators": ((*PLAN, "--gpus", "1B", "--accelerator", "H100", "--days", "3"), None, "more than exist"),
    "a loss below the floor": ((*PLAN, "--loss", "1"), None, "cannot be reached"),
    "constraints that conflict": ((*PLAN, "--flops", "1e20", "--min-params", "10B", "--min-tokens", "1T"), None, "relax a constraint"),
    "an unknown published law": (("plan", "--published", "hofmann", "--flops", "1e21"), None, "did you mean"),
    "a fit file that is not there": (("plan", "--fit", "no.json", "--flops", "1e21"), None, "no.json"),
    "a law without a trade-off": (("plan", "-", "--law", "power_n", "--flops", "1e21"), runs_csv(), "nothing to trade off"),
    "a band of everything": ((*PLAN, "--flops", "1e21", "--band", "1"), None, "1"),
    "an unknown command": (("fitt",), None, "fitt"),
    "an unknown option": ((*PLAN, "--flopz", "1"), None, "flopz"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_input_is_one_sentence_and_exit_code_2(case):
    arguments, stdin, words = BAD_CALLS[case]
    assert words in one_sentence(call(*arguments, stdin=stdin))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "scaling.fit/2"}', '{"schema": "scaling.fit/1", "law": 3}', "\x00\x01"]
)
def test_a_file_that_is_no_fit_is_refused(tmp_path, text):
    path = tmp_path / "fit.json"
    path.write_text(text)
    assert "fit.json" in one_sentence(call("plan", "--fit", path, "--flops", "1e21"))


def test_runs_on_one_ratio_are_fitted_with_a_warning_in_words():
    n = np.geomspace(1e7, 1e9, 12)
    table = pd.DataFrame({"params": n, "tokens": 20 * n, "loss": chinchilla_loss(n, 20 * n)}).to_csv(index=False)
    result = call("fit", "-", "--resamples", 0, "--json", stdin=table)
    document = json.loads(result.stdout)
    assert document["status"] == "undetermined" or document["warnings"]
    codes = {w["code"] for w in json.loads(call("check", "-", "--json", stdin=table).stdout)["warnings"]}
    assert "one_ratio" in codes


def test_a_law_of_one_input_needs_only_that_column():
    n = np.geomspace(1e7, 1e9, 12)
    table = pd.DataFrame({"params": n, "loss": 10 * n**-0.1}).to_csv(index=False)
    document = json.loads(call("fit", "-", "--law", "power_n", "--resamples", 0, "--json", stdin=table).stdout)
    assert document["coefs"]["alpha"]["estimate"] == pytest.approx(0.1, abs=1e-6)


def test_several_laws_are_fitted_in_one_call(sweep):
    result = call(
        "fit", sweep, "--column", "loss=eval/loss", "--law", "chinchilla", "--law", "kaplan", "--resamples", 0, "--json"
    )
    document = json.loads(result.stdout)
    jsonschema.validate(document, schema("fit"))
    assert [f["law"] for f in document["fits"]] == ["chinchilla", "kaplan"]


def test_the_installed_command_and_the_module_are_one(sweep):
    done = subprocess.run([sys.executable, "-m", "scaling", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["scaling,", "version", scaling.__version__]
    closed = subprocess.run(
        f"{sys.executable} -m scaling published | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert closed.stderr == ""
