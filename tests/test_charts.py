"""Charts draw what the numbers say: a title with the finding, log axes with plain ticks, text from logs made harmless."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import pytest

import scaling
from scaling import charts
from scaling.errors import FitError, RunsError, ScalingError

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="module")
def result():
    return scaling.bootstrap(scaling.fit("chinchilla", scaling.read_runs(DATA / "ladder" / "runs.csv")), 50)


def marks(chart):
    return [layer.mark.type if not isinstance(layer.mark, str) else layer.mark for layer in chart.layer]


def test_a_fit_of_size_and_data_is_drawn_as_isoflop_curves(result):
    chart = charts.fit_chart(result)
    assert chart.title.text.startswith("The best model size grows as C^0.4")
    assert "38 runs" in chart.title.subtitle[0]
    assert marks(chart) == ["line", "circle", "line", "point", "point"]
    curves, runs, _, optimum, _ = (layer.data for layer in chart.layer)
    assert curves["budget"].nunique() == len(optimum) == 5
    assert len(runs) == 38
    for _, best in optimum.iterrows():  # the diamonds sit at the bottom of their curves
        budget = curves.loc[(curves["budget"] - best["flops"]).abs().idxmin(), "budget"]
        assert best["loss"] <= curves.loc[curves["budget"] == budget, "loss"].min() + 1e-9


def test_a_law_of_one_input_is_drawn_with_its_band():
    n = np.geomspace(1e6, 1e9, 12)
    runs = pd.DataFrame(
        {"n_params": n, "loss": 1.7 + 300 * n**-0.3 * np.exp(np.random.default_rng(0).normal(0, 0.01, 12))}
    )
    chart = charts.fit_chart(scaling.fit("power_n_floor", runs))
    assert marks(chart) == ["area", "line", "circle", "point"]


def test_any_other_law_is_drawn_as_predicted_against_observed():
    rng = np.random.default_rng(0)
    law = scaling.get("step_law_lr")
    x = {"n_params": np.exp(rng.uniform(15, 22, 30)), "n_tokens": np.exp(rng.uniform(18, 25, 30))}
    runs = pd.DataFrame({**x, law.target: scaling.published("li2025-lr").predict(x)})
    assert charts.fit_chart(scaling.fit(law, runs)).title.text.endswith("predicted against observed lr")


def test_the_frontier_shades_the_runs_and_shows_bands(result):
    best = scaling.allocate(result, np.geomspace(1e11, 1e14, 7))
    chart = charts.frontier(best, result)
    assert marks(chart.hconcat[0]) == ["rect", "area", "line", "point"]
    assert "parameters" in chart.title.text


@pytest.mark.parametrize("kind", ["svg", "png", "html"])
def test_files_are_written_and_open_offline(result, tmp_path, kind):
    path = tmp_path / f"chart.{kind}"
    charts.save(charts.fit_chart(result), path)
    content = path.read_bytes()
    assert content.startswith({"svg": b"<svg", "png": b"\x89PNG", "html": b"<!DOCTYPE html>"}[kind])
    assert b'src="http' not in content
    with pytest.raises(ScalingError, match="written as"):
        charts.save(charts.fit_chart(result), tmp_path / "chart.pdf")


def test_names_from_logs_are_inert_in_every_format(result, tmp_path):
    hostile = "<script>alert(1)</script>"
    runs = result.point.runs.assign(run=hostile)
    fitted = scaling.fit("chinchilla", runs)
    for kind in ("svg", "html"):
        path = tmp_path / f"chart.{kind}"
        charts.save(charts.fit_chart(fitted), path)
        assert hostile not in path.read_text()


def test_ticks_are_few_and_plain():
    assert charts.axes.log_axis([1e6, 1e8]).values == [1e6, 2e6, 5e6, 1e7, 2e7, 5e7, 1e8]
    assert charts.axes.log_axis([1e6, 1e12]).values == [10.0**k for k in range(6, 13)]


def test_what_cannot_be_drawn_is_said(result, tmp_path):
    import json

    saved = scaling.load_fit(json.loads(json.dumps(result.to_dict())))
    with pytest.raises(FitError, match="runs are not in it"):
        charts.fit_chart(saved)
    groups = scaling.fit(
        "power_n", pd.DataFrame({"n_params": [1e6, 1e7, 1e8] * 2, "loss": [3, 2, 1.5] * 2, "g": list("aaabbb")}), by="g"
    )
    with pytest.raises(FitError, match="take a group first"):
        charts.fit_chart(groups)


def test_a_profile_has_its_lowest_point_where_the_table_of_budgets_says():
    found = scaling.isoflop(scaling.read_runs(DATA / "ladder" / "runs.csv"), n_resamples=30)
    chart = charts.profiles_chart(found)
    curves, points, _, best = (layer.data for layer in chart.layer)
    assert set(curves["curve"]) == {"asymmetric", "parabola"}
    assert len(points) == len(found.runs)
    table = found.budget_table().set_index("flops")
    for row in best.itertuples():
        assert row.low < row.n_params < row.high
        for curve, column in (("asymmetric", "n_params"), ("parabola", "parabola_n_params")):
            drawn = curves[(curves["budget"] == row.budget) & (curves["curve"] == curve)]
            lowest = drawn.loc[drawn["loss"].idxmin(), "n_params"]
            assert lowest == pytest.approx(table.loc[row.budget, column], rel=0.03)  # a step of the drawn grid
    with pytest.raises(FitError, match="runs are not"):
        charts.profiles_chart(dataclasses.replace(found, runs=None))


@pytest.mark.parametrize("law", ["chinchilla", "power_n_floor", "step_law_lr"])
def test_runs_of_every_kind_of_fit_can_be_picked_and_marked(law):
    rng = np.random.default_rng(0)
    known = scaling.get(law)
    runs = pd.DataFrame({"n_params": np.exp(rng.uniform(15, 22, 30)), "n_tokens": np.exp(rng.uniform(18, 25, 30))})
    runs["run"] = [f"r{i}" for i in range(30)]
    runs[known.target] = 1.8 + 400 * runs["n_params"] ** -0.34 + 410 * runs["n_tokens"] ** -0.28
    fitted = scaling.fit(law, runs, "hoffmann")
    picking = alt.selection_point(name="picked", fields=["run"])
    for draw in (charts.fit_chart, charts.residual_chart):
        chart = draw(fitted, selection=picking, marked=["r3"])
        assert [p["name"] for p in chart.to_dict()["params"]] == ["picked"]
        rings = [layer.data for layer in chart.layer if "run" in layer.data and len(layer.data) == 1]
        assert [list(r["run"]) for r in rings] == [["r3"]]
        for layer in draw(fitted, selection=picking, marked=[]).layer:
            assert "run" not in layer.data or len(layer.data) in (0, 30)


def test_a_training_error_is_drawn_beside_the_test_error():
    from scaling.logs import read_table

    table = read_table(DATA / "double_descent" / "width.csv").query("ridge == 0 and label_noise == 0.1")
    found = scaling.double_descent(table, "width", "test_loss", train="train_loss")
    plain = charts.descent_chart(found)
    both = charts.descent_chart(found, table[["width", "train_loss"]])
    assert len(both.layer) == len(plain.layer) + 3
    drawn = both.layer[0].data
    assert list(drawn["x"]) == sorted(table["width"].unique())
    first = np.exp(np.log(table.loc[table["width"] == table["width"].min(), "train_loss"]).mean())
    assert drawn["y"].iloc[0] == pytest.approx(first)
    assert drawn["y"].min() >= found.points["value"].min() / charts.curves.FLOOR * 0.999
    errors = charts.descent_chart(found, table[["width", "train_acc"]]).layer[0].data
    assert errors["y"].iloc[0] == pytest.approx(
        np.exp(np.log(1 - table.loc[table["width"] == table["width"].min(), "train_acc"]).mean())
    )
    with pytest.raises(ScalingError, match="one more column"):
        charts.descent_chart(found, table[["width", "train_acc", "train_loss"]])


def test_a_continuous_score_is_drawn_with_how_steadily_it_moves(tmp_path):
    table = pd.read_csv(DATA / "emergence" / "addition.csv")
    chart = charts.continuous_chart(table, "flops", "loss")
    assert chart.title.text[0].startswith("loss falls with flops")
    points, line = (layer.data for layer in chart.layer)
    assert len(points) == len(table)
    assert line["y"].iloc[-1] == pytest.approx(table.loc[table["flops"] == table["flops"].max(), "loss"].mean())
    assert charts.continuous_chart(table, "flops", "per_digit").title.text[0].startswith("per_digit rises")
    with pytest.raises(ScalingError, match="no column 'brier'"):
        charts.continuous_chart(table, "flops", "brier")


def test_every_analysis_has_its_picture(tmp_path):
    from scaling.logs import read_table

    pictures = {
        "descent": charts.descent_chart(scaling.double_descent(read_table(DATA / "double_descent" / "samples.csv").query("ridge == 0 and label_noise == 0.1"), "n_samples", "test_loss")),
        "emergence": charts.emergence_chart(scaling.emergence(read_table(DATA / "emergence" / "addition.csv"), x="n_params", score="exact_match", n_items="n_items", n_draws=20)),
        "grokking": charts.grokking_chart(scaling.grokking(read_table(DATA / "grokking" / "curves.csv"))),
        "isoflop": charts.isoflop_page(scaling.isoflop(scaling.read_runs(DATA / "ladder" / "runs.csv"), n_resamples=50)),
        "compare": charts.compare_chart(scaling.compare(["chinchilla", "kaplan"], scaling.read_runs(DATA / "ladder" / "runs.csv"), n_resamples=20)),
    }  # fmt: skip
    for name, picture in pictures.items():
        assert isinstance(picture, alt.TopLevelMixin)
        charts.save(picture, tmp_path / f"{name}.svg")
        assert (tmp_path / f"{name}.svg").stat().st_size > 4000


def test_runs_lie_on_the_plane_of_sizes_and_tokens_with_lines_of_equal_compute(result):
    chart = charts.runs_chart(result.point.runs)
    lines, points = (layer.data for layer in chart.layer)
    assert len(points) == 38
    assert np.allclose(6 * lines["n_params"] * lines["n_tokens"], lines["flops"])
    with pytest.raises(RunsError, match="no n_tokens"):
        charts.runs_chart(result.point.runs.drop(columns="n_tokens"))


def test_a_long_log_is_thinned_and_keeps_its_ends():
    step = np.arange(1, 50_001.0)
    rows = pd.DataFrame(
        {"run": np.repeat(["a", "b"], 50_000), "step": np.tile(step, 2), "loss": np.tile(3 * step**-0.1, 2)}
    )
    drawn = charts.training_curves(rows).data
    assert len(drawn) <= charts.MOST_MARKS
    assert (drawn.groupby("run")["step"].agg(["min", "max"]) == [1, 50_000]).all(axis=None)


def test_residuals_and_exponents_of_a_fit_are_drawn(result):
    zero, marks_of, _ = charts.residual_chart(result).layer
    assert np.allclose(marks_of.data["residual"], result.point.run_table()["residual"])
    cloud, best = charts.exponents_chart(result).layer
    assert len(cloud.data) == int(result.converged.sum())
    assert best.data["x"][0] == result.point.theta[result.law.coef_names.index("alpha")]
    with pytest.raises(FitError, match="resamples"):
        charts.exponents_chart(result.point)


def test_contours_are_of_equal_loss_and_the_optimum_touches_its_own():
    law = scaling.published("besiroglu2024")
    lines, _, budget, best = (layer.data for layer in charts.contour_chart(law, 1e24).layer)
    loss = law.predict({"n_params": lines["n_params"].to_numpy(), "n_tokens": lines["n_tokens"].to_numpy()})
    assert np.allclose(loss, lines["level"].astype(float), atol=1e-3)
    on_line = law.predict({"n_params": budget["n_params"].to_numpy(), "n_tokens": budget["n_tokens"].to_numpy()})
    assert best["loss"][0] <= on_line.min() + 1e-9
    assert np.allclose(6 * budget["n_params"] * budget["n_tokens"], 1e24)


def test_a_forecast_of_scores_is_drawn_along_the_frontier(result):
    table = pd.read_csv(DATA / "emergence" / "addition.csv")
    link = scaling.emergence(table, x="loss", score="exact_match", n_items="n_items", n_draws=50)
    along = scaling.score_along(scaling.allocate(result, np.geomspace(1e10, 1e15, 8)), link, n_draws=100)
    drawn = charts.capability_chart(along).data
    assert (drawn["low"] <= drawn["score"]).all()
    assert drawn["score"].is_monotonic_increasing
    assert np.allclose(drawn["flops"], np.geomspace(1e10, 1e15, 8))


def test_published_laws_are_drawn_by_the_tokens_per_parameter_they_ask_for():
    drawn = charts.ratio_chart({k: scaling.published(k) for k in ("besiroglu2024", "hoffmann2022-3")}).data
    at = drawn[(drawn["law"] == "besiroglu2024") & np.isclose(drawn["flops"], 1e23)]["ratio"].iloc[0]
    assert at == pytest.approx(
        float(scaling.allocate(scaling.published("besiroglu2024"), 1e23).tokens_per_param.squeeze())
    )


def test_the_envelope_is_drawn_with_the_runs_that_touch_it():
    found = scaling.envelope(scaling.read_runs(DATA / "ladder" / "runs.csv", final=False), n_resamples=30)
    size, tokens = charts.envelope_chart(found).hconcat
    for part, column in ((size, "n_params"), (tokens, "n_tokens")):
        points, line = (layer.data for layer in part.layer)
        assert np.allclose(points[column], found.points[column])
        assert np.allclose(line[column], found.predict(line["flops"])[column])
