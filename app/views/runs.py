"""Upload, mapping, what was understood, and the runs in a picture."""

import cache
import inputs
import streamlit as st

from scaling import charts
from scaling.logs import COLUMNS, check_runs

st.title("Runs")
files = inputs.upload("runs", "ladder/runs.csv")
with inputs.sentences():
    raw = cache.preview(cache.content_key(files), files)
FOUND = "(found by name)"
with st.expander("Which column is what", expanded="files_runs" in st.session_state):
    mapping = {}
    for column, name in zip(st.columns(4), ("n_params", "n_tokens", "flops", "loss"), strict=True):
        chosen = column.selectbox(
            name,
            [FOUND, *map(str, raw.columns)],
            key=f"map_{name}",
            help=f"{COLUMNS[name].meaning} Unit: {COLUMNS[name].unit or 'as in the file'}.",
            bind="query-params",
        )
        if chosen != FOUND:
            mapping[name] = chosen
    st.session_state["mapping"] = mapping
    st.caption("The file as it is:")
    inputs.show_table(raw)
runs = inputs.current_runs()
read = runs.attrs["read"]
one, two, three = st.columns(3)
one.metric("Runs", len(runs), help="Trainings, each with its final loss.")
two.metric("Rows read", read["n_rows"]["read"], help="Lines of the files; a training curve has many for one run.")
three.metric("Rows dropped", sum(d["count"] for d in read["dropped"]), help="Each with its reason below.")
for dropped in read["dropped"]:
    examples = inputs.escape(", ".join(dropped["examples"][:3]))
    st.write(f"{dropped['count']} dropped: {inputs.escape(dropped['reason'])} ({examples})")
understood = [
    f"{name} from *{inputs.escape(m['column'])}*" + ("" if m["factor"] == 1 else f" × {m['factor']:g}")
    for name, m in read["mapping"].items()
    if name != m["column"] or m["factor"] != 1
]
if understood:
    st.write("Understood: " + "; ".join(understood) + ".")
for note in read["notes"]:
    if note["code"] != "column_choice":  # the choice is made above, with the file in view
        st.info(inputs.escape(note["message"]))
for problem in check_runs(runs):
    st.warning(inputs.sentence(problem["message"]))
if inputs.excluded():
    st.info(f"Runs left out by you: {len(inputs.excluded())}.")
    if st.button("Take them back"):
        inputs.exclude(())
        st.rerun()
left, right = st.columns(2)
if {"n_params", "n_tokens", "loss"} <= set(runs):
    with left:
        inputs.show_chart(
            charts.runs_chart(runs, read["loss_unit"]),
            "plane",
            "Runs by model size and training tokens, coloured by loss",
        )
with inputs.sentences():
    curves = cache.curves(files, mapping)
if curves is None:
    right.caption("Training curves are drawn of logs up to 32 MB.")
elif "loss" in curves and len(curves) > len(runs) and {"step", "n_tokens"} & set(curves):
    with right:
        inputs.show_chart(
            charts.training_curves(curves, read["loss_unit"]), "curves", "Loss during training, one line for each run"
        )
inputs.show_table(runs)
inputs.downloads("runs", runs, dict(read))
