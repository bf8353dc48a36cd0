"""Upload, mapping, what was understood, and the runs in a picture."""

from dataclasses import replace

import cache
import inputs
import show
import streamlit as st
import uploads
import words

from scaling import charts
from scaling.logs import COLUMNS, LOSS_UNITS, check_runs, columns_read
from scaling.sections import section

st.title("Runs")
files = uploads.upload("runs", uploads.RUNS)
with words.sentences():
    raw = cache.preview(cache.content_key(files), files)
FOUND = "(found by name)"
with st.expander("Which column is what", expanded="files_runs" in st.session_state):
    reading = {}
    *places, last = st.columns(5)
    for column, name in zip(places, uploads.MAPPED, strict=True):
        chosen = column.selectbox(
            name,
            [FOUND, *map(str, raw.columns)],
            key=f"map_{name}",
            help=f"{COLUMNS[name].meaning} Unit: {COLUMNS[name].unit or 'as in the file'}.",
            bind="query-params",
        )
        if chosen != FOUND:
            reading[name] = chosen
    unit = last.selectbox(
        "unit of the loss", [FOUND, *LOSS_UNITS], key=uploads.UNIT, bind="query-params",
        help="Bits and perplexity are converted to nats per token; losses per byte stay as they are.",
    )  # fmt: skip
    if unit != FOUND:
        reading[uploads.UNIT] = unit
    st.session_state["reading"] = reading
    st.caption("The file as it is:")
    show.table(raw)
runs = inputs.current_runs()
read = runs.attrs["read"]
one, two, three = st.columns(3)
one.metric("Runs", len(runs), help="Trainings, each with its final loss.")
two.metric("Rows read", read["n_rows"]["read"], help="Lines of the files; a training curve has many for one run.")
three.metric("Rows dropped", sum(d["count"] for d in read["dropped"]), help="Each with its reason below.")
for dropped in read["dropped"]:
    examples = words.escape(", ".join(dropped["examples"][:3]))
    st.write(f"{dropped['count']} dropped: {words.escape(dropped['reason'])} ({examples})")
st.caption("Each column, and what it was made of:")
show.table(columns_read(runs))
for note in read["notes"]:
    if note["code"] != "column_choice":  # the choice is made above, with the file in view
        st.info(words.escape(note["message"]))
for problem in check_runs(runs):
    st.warning(words.sentence(problem["message"]))
if uploads.excluded():
    st.info(f"Runs left out by you: {len(uploads.excluded())}.")
    if st.button("Take them back"):
        uploads.exclude(())
        st.rerun()
left, right = st.columns(2)
pictures = []
if {"n_params", "n_tokens", "loss"} <= set(runs):
    pictures.append(charts.runs_chart(runs, read["loss_unit"]))
    with left:
        show.chart(pictures[-1], "plane", "Runs by model size and training tokens, coloured by loss")
with words.sentences():
    curves = cache.curves(files, reading)
if curves is None:
    right.caption("Training curves are drawn of logs up to 32 MB.")
elif "loss" in curves and len(curves) > len(runs) and {"step", "n_tokens"} & set(curves):
    pictures.append(charts.training_curves(curves, read["loss_unit"]))
    with right:
        show.chart(pictures[-1], "curves", "Loss during training, one line for each run")
show.table(runs)
show.downloads("runs", runs, dict(read), lambda: [replace(section(runs), charts=tuple(pictures))])
