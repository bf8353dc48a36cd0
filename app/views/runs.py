"""Upload, mapping, what was understood, and the runs in a picture."""

import altair as alt
import cache
import inputs
import streamlit as st

from scaling import charts
from scaling.logs import COLUMNS, check_runs

st.title("Runs")
files = inputs.upload("runs", "ladder/runs.csv")
with inputs.sentences():
    headers = list(cache.table_of(cache.content_key(files), files).columns)
FOUND = "(found by name)"
with st.expander("Which column is what", expanded="files_runs" in st.session_state):
    mapping = {}
    for column, name in zip(st.columns(4), ("n_params", "n_tokens", "flops", "loss"), strict=True):
        chosen = column.selectbox(
            name, [FOUND, *map(str, headers)], key=f"map_{name}", help=f"unit: {COLUMNS[name].unit or 'as in the file'}"
        )
        if chosen != FOUND:
            mapping[name] = chosen
    st.session_state["mapping"] = mapping
runs = inputs.current_runs()
read = runs.attrs["read"]
one, two, three = st.columns(3)
one.metric("Runs", len(runs))
two.metric("Rows read", read["n_rows"]["read"])
three.metric("Rows dropped", sum(d["count"] for d in read["dropped"]), help="Each with its reason below.")
for dropped in read["dropped"]:
    st.write(
        f"{dropped['count']} dropped: {inputs.escape(dropped['reason'])} ({inputs.escape(', '.join(dropped['examples'][:3]))})"
    )
for entry in check_runs(runs):
    st.warning(inputs.escape(entry["message"]))
if st.session_state.get("excluded"):
    st.info(f"{len(st.session_state['excluded'])} runs are excluded by you.")
    if st.button("Take them back"):
        st.session_state["excluded"] = set()
        st.rerun()
if {"n_params", "n_tokens", "loss"} <= set(runs):
    frame = runs[["run", "n_params", "n_tokens", "loss"]].iloc[: charts.MOST_MARKS]
    plane = (
        alt.Chart(frame)
        .mark_circle(size=70, opacity=1)
        .encode(
            x=alt.X(
                "n_params:Q",
                title=charts.TITLES["n_params"],
                scale=charts._log(frame["n_params"]),
                axis=charts._axis(frame["n_params"]),
            ),
            y=alt.Y(
                "n_tokens:Q",
                title=charts.TITLES["n_tokens"],
                scale=charts._log(frame["n_tokens"]),
                axis=charts._axis(frame["n_tokens"]),
            ),
            color=alt.Color(
                "loss:Q", scale=alt.Scale(scheme="viridis", reverse=True), title=f"loss [{read['loss_unit']}]"
            ),
            tooltip=["run", "n_params", "n_tokens", "loss"],
        )
        .properties(height=380, title="Where the runs lie")
    )
    inputs.show_chart(plane, "plane", "Runs by model size and training tokens, coloured by loss")
curves = inputs.current_runs(final=False)
if "step" in curves and len(curves) > len(runs):
    thin = curves.iloc[:: max(1, len(curves) // charts.MOST_MARKS)]
    x = "n_tokens" if "n_tokens" in thin else "step"
    thin = thin[thin[x] > 0]
    picture = (
        alt.Chart(thin[["run", x, "loss", *(["flops"] if "flops" in thin else [])]])
        .mark_line(opacity=0.6)
        .encode(
            x=alt.X(f"{x}:Q", scale=charts._log(thin[x]), axis=charts._axis(thin[x]), title=charts.TITLES.get(x, x)),
            y=alt.Y("loss:Q", scale=alt.Scale(zero=False), title=f"loss [{read['loss_unit']}]"), detail="run:N", tooltip=["run", x, "loss"],
        )
        .properties(height=320, title="Training curves")
    )  # fmt: skip
    inputs.show_chart(picture, "curves", "Loss during training, one line for each run")
inputs.show_table(runs)
inputs.downloads("runs", runs, dict(read))
