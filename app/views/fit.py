"""Laws side by side: coefficients with bands, fit and residuals, held-out largest scales."""

from typing import Any

import altair as alt
import cache
import inputs
import pandas as pd
import show
import streamlit as st
import uploads
import words

import scaling
from scaling import charts
from scaling.laws import LAWS
from scaling.logs import COLUMNS

st.title("Fit")
runs = inputs.current_runs()
one, two, three, four = st.columns([3, 1, 1, 1])
chosen, objective, resamples = inputs.fit_settings(runs, one, two, three)
groupable = [str(c) for c in runs if c not in COLUMNS and 2 <= runs[c].nunique() <= 50]
NONE = "none"
by = four.selectbox(
    "Groups", [NONE, *groupable], key="by", bind="query-params", help="Fit each group of runs that share a value."
)
if not chosen:
    st.info("Choose a law.")
    words.stop()
if by != NONE:
    with words.sentences():
        groups = cache.fit_groups(chosen[0], runs, objective, by)
    show.table(groups.fit_table())
    names = list(dict.fromkeys(runs[by].astype(str)))
    group = st.selectbox(
        "Group shown below", names, key="group", bind="query-params", help="Its law, charts and residuals follow."
    )
    read = runs.attrs
    runs = runs[runs[by].astype(str) == group]
    runs.attrs = read
with words.sentences():
    results = {name: cache.fit(name, runs, objective, resamples) for name in chosen}
first = results[chosen[0]]


def clicked(widget: str) -> None:
    """A click on a chart adds its run to those to leave out; a second click, in either chart, takes it back."""
    picked = st.session_state[widget].get("selection", {}).get("picked", [])
    now = {str(p["run"]) for p in picked if p.get("run") is not None}  # a click on a curve has no run
    held = st.session_state.setdefault("clicked", {})
    changed = now ^ held.get(widget, set())
    held[widget] = now
    before = st.session_state.get("leave_out", [])
    st.session_state["leave_out"] = [r for r in before if r not in changed] + sorted(changed - set(before))


def leave_out() -> None:
    """The fit is made again without the runs chosen."""
    uploads.exclude(st.session_state.get("leave_out", []))
    st.session_state["leave_out"] = []
    st.session_state["clicked"] = {}


table = first.run_table()
drawing = cache.runs_key(runs)[:12]  # other runs are another drawing: no click on the old one stays with it
marked = [run for run in st.session_state.get("leave_out", []) if run in set(table["run"].astype(str))]
if "leave_out" in st.session_state:
    st.session_state["leave_out"] = marked  # of these runs, and not of those of another file
picking = alt.selection_point(name="picked", fields=["run"], toggle="true")  # each click adds or takes back
left, right = st.columns([3, 2])
with left, words.sentences():
    show.chart(
        charts.fit_chart(first, selection=picking, marked=marked), "fit_chart", "Runs and the fitted law; a click on a run marks it",
        rows=table, widget=f"fit_chart_{drawing}", on_select=lambda: clicked(f"fit_chart_{drawing}"),
    )  # fmt: skip
    st.caption("Click a run, here or among the residuals, to see it below and to leave it out.")
with right:
    try:
        cloud = charts.exponents_chart(first)
    except scaling.FitError:  # a law with one exponent, or no resamples: nothing to show
        pass
    else:
        draws = pd.DataFrame(first.theta, columns=list(first.law.coef_names))
        show.chart(cloud, "cloud", "Exponents over the resamples, one point for each", rows=draws)
for name, result in results.items():
    st.subheader(LAWS[name].title)
    st.latex(LAWS[name].latex)
    show.table(result.coef_table())
    point = result.point
    st.caption(words.sentence(f"{point.status}: {point.message}"))
    for warning in point.warnings:
        st.warning(words.sentence(warning.message))
    show.downloads(f"fit_{name}", result.coef_table(), result.to_dict())

st.subheader("Residuals")
st.caption("Click a run to see it and to leave it out; what is chosen in one chart is marked in the other.")
show.chart(
    charts.residual_chart(first, picking, marked), "residuals", "Residual of each run against compute; a click on a run marks it",
    rows=table, widget=f"residuals_{drawing}", on_select=lambda: clicked(f"residuals_{drawing}"),
)  # fmt: skip
far = table.loc[table["residual"].abs().sort_values(ascending=False).index, "run"].astype(str).tolist()
chosen_runs = st.multiselect(
    "Runs to leave out", far, key="leave_out", help="The same by keyboard; the farthest from the law come first."
)
if chosen_runs:
    show.table(table[table["run"].astype(str).isin(chosen_runs)])
    st.button("Leave out and refit", key="exclude", on_click=leave_out)
if uploads.excluded():
    st.info(f"Runs left out by you: {len(uploads.excluded())}.")
    if st.button("Take excluded runs back", key="include"):
        uploads.exclude(())
        st.rerun()

parts: list[Any] = list(results.values())  # of the report
if len(chosen) > 1:
    st.subheader("Which law extrapolates best?")
    with words.sentences():
        compared = cache.compare(chosen, runs, objective)
    st.write(words.escape(compared.finding))
    picture = charts.compare_chart(compared)
    show.chart(picture, "compare_chart", "Held-out error of each law")
    ranked = compared.table()
    show.table(ranked)
    st.caption("Held-out largest scales, cutoff by cutoff:")
    show.table(compared.cutoff_table())
    show.downloads("compare", ranked, compared.to_dict())
    parts.append(compared)
if {"n_params", "flops"} <= set(runs):
    st.subheader("isoFLOP profiles")
    try:
        profiles = cache.isoflop(runs)
    except scaling.ScalingError as error:
        st.info(words.escape(error))
    else:
        show.chart(
            charts.profiles_chart(profiles), "profiles_chart", "Loss against model size at each budget, with the minimum of each",
            rows=profiles.runs,
        )  # fmt: skip
        show.chart(charts.isoflop_chart(profiles), "isoflop_chart", "Best size and tokens of each budget")
        show.table(profiles.budget_table())
        show.downloads("isoflop", profiles.budget_table(), profiles.to_dict())
        for warning in profiles.warnings:
            st.warning(words.sentence(warning.message))
        parts.append(profiles)
show.downloads("report", report=lambda: [*parts, runs])
