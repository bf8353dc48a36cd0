"""Results of a refit store: the state of each law, coefficients over time, and what the last refit changed."""

from pathlib import Path

import cache
import show
import streamlit as st
import words

from scaling import charts, refitting

st.title("Batch")
st.write("Opens the store that `scaling refit` writes every night.")
path = st.text_input(
    "Store",
    key="store",
    bind="query-params",
    placeholder="a directory on this machine",
    help="The directory given to scaling refit --store.",
)
if not path and st.button("Try it with the sample runs", key="sample_store"):
    st.session_state["sample_asked"] = True
if not path and "sample_asked" in st.session_state:  # asked for once; a cancelled one waits to be asked for again
    with words.sentences():
        path = cache.sample_store()
if not path:
    st.info("No store is open. Make one with: scaling refit RUNS --law chinchilla --by COLUMN --store DIR")
    words.stop()
if not Path(path).is_dir():
    st.error(words.escape(f"there is no directory {path!r}."))
    words.stop()
with words.sentences():
    st.subheader("State")
    show.table(refitting.status(path))
    nights = refitting.history(path)
    st.caption(f"{len(nights)} refits")
    show.table(nights)
    drift = refitting.drift(path)
if drift.empty:
    st.info("No fit in this store has an estimate yet.")
    words.stop()
st.subheader("Coefficients over time")
columns = st.columns(3)
law = columns[0].selectbox(
    "Law", list(dict.fromkeys(drift["law"])), key="batch_law", bind="query-params", help="One of the laws refitted."
)
of_law = drift[drift["law"] == law]
group = columns[1].selectbox(
    "Group",
    list(dict.fromkeys(of_law["group"])),
    key="batch_group",
    bind="query-params",
    help="One of the groups of runs, as refit --by made them.",
)
of_group = of_law[of_law["group"] == group]
coef = columns[2].selectbox(
    "Coefficient",
    list(dict.fromkeys(of_group["coef"])),
    key="batch_coef",
    bind="query-params",
    help="Meanings are on the page Library.",
)
picture = charts.drift_chart(of_group[of_group["coef"] == coef], coef)
show.chart(picture, "drift", f"{coef} of each refit with its interval", rows=of_group[of_group["coef"] == coef])
st.subheader("What the last refit changed")
finished = int((nights["finished"] != "").sum())
if finished < 2:
    st.info("A change needs two finished refits; the next night brings it.")
else:
    with words.sentences():
        changes = refitting.changed(path)
    if changes.empty:
        st.write("Nothing moved.")
    else:
        show.table(changes)
    show.downloads("changed", changes)
st.subheader("All of it")
st.caption("Every coefficient of every group and refit as a table; the report has states and changes, too.")
show.downloads("batch", drift, report=lambda: [Path(path)])
