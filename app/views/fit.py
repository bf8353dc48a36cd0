"""Laws side by side: coefficients with bands, fit and residuals, held-out largest scales."""

import altair as alt
import cache
import inputs
import streamlit as st

import scaling
from scaling import charts
from scaling.fitting import OBJECTIVES
from scaling.laws import LAWS

st.title("Fit")
runs = inputs.current_runs()
able = [n for n, law in LAWS.items() if law.target == "loss" and set(law.inputs) <= set(runs.columns)]
if not able:
    st.warning("No law fits these columns: map n_params, n_tokens or flops on the page Runs.")
    st.stop()
one, two, three = st.columns([3, 1, 1])
chosen = one.multiselect(
    "Laws",
    able,
    default=[n for n in ("chinchilla",) if n in able] or able[:1],
    key="laws",
    bind="query-params",
    help="The first is drawn; all are compared.",
)
objective = two.selectbox(
    "Objective",
    list(OBJECTIVES),
    key="objective",
    bind="query-params",
    help="What is minimised: hoffmann is Huber 1e-3 on log loss, as in the literature; robust takes its scale from the data.",
)
resamples = three.select_slider(
    "Resamples",
    [0, 100, 300, 1000, 4000],
    300,
    key="resamples",
    bind="query-params",
    help="Refits on resampled runs; intervals come from them.",
)
if not chosen:
    st.info("Choose a law.")
    st.stop()
with inputs.sentences():
    results = {name: cache.fit(name, runs, objective, resamples) for name in chosen}
first = results[chosen[0]]
with inputs.sentences():
    inputs.show_chart(charts.fit_chart(first), "fit_chart", "Runs and the fitted law")
for name, result in results.items():
    st.subheader(LAWS[name].title)
    st.latex(LAWS[name].latex)
    inputs.show_table(result.coef_table())
    point = result.point
    st.write(f"{point.status}: {inputs.escape(point.message)}")
    for warning in point.warnings:
        st.warning(inputs.escape(warning.message))
    inputs.downloads(f"fit_{name}", result.coef_table(), result.to_dict())

st.subheader("Residuals")
table = first.run_table()
x = "flops" if "flops" in table else first.law.inputs[0]
frame = table[["run", x, "predicted", "residual"]].iloc[: charts.MOST_MARKS]
select = alt.selection_point(name="picked", fields=["run"])
residuals = (
    alt.Chart(frame)
    .mark_circle(size=70)
    .encode(
        x=alt.X(f"{x}:Q", title=charts.TITLES.get(x, x), scale=charts._log(frame[x]), axis=charts._axis(frame[x], powers=x == "flops")),
        y=alt.Y("residual:Q", title="residual of log loss"), opacity=alt.condition(select, alt.value(1.0), alt.value(0.3)),
        tooltip=["run", x, "residual"],
    )
    .add_params(select)
    .properties(height=260, title="Click a run to see it and to leave it out")
)  # fmt: skip
event = inputs.show_chart(residuals, "residuals", "Residual of each run against compute", on_select="rerun")
picked = [p["run"] for p in (event.get("selection", {}).get("picked", []) if event else []) if "run" in p]
if picked:
    inputs.show_table(table[table["run"].isin(picked)])
    if st.button("Leave out and refit", key="exclude"):
        st.session_state["excluded"] = set(st.session_state.get("excluded", set())) | set(picked)
        st.rerun()
if st.session_state.get("excluded") and st.button("Take excluded runs back", key="include"):
    st.session_state["excluded"] = set()
    st.rerun()

if len(chosen) > 1:
    st.subheader("Which law extrapolates best?")
    with inputs.sentences(), st.spinner("Comparing"):
        compared = scaling.compare(chosen, runs, objective, n_resamples=100)
    st.write(inputs.escape(compared.finding))
    inputs.show_chart(charts.compare_chart(compared), "compare_chart", "Held-out error of each law")
    inputs.show_table(compared.table().reset_index())
if {"n_params", "flops"} <= set(runs):
    st.subheader("isoFLOP profiles")
    try:
        profiles = scaling.isoflop(runs, n_resamples=200)
    except scaling.ScalingError as error:
        st.info(inputs.escape(error))
    else:
        inputs.show_chart(charts.isoflop_chart(profiles), "isoflop_chart", "Best size and tokens of each budget")
        inputs.show_table(profiles.budget_table())
