"""Results of a refit store: the state of each law, and what the last refit changed."""

from pathlib import Path

import inputs
import streamlit as st

from scaling import refitting

st.title("Batch")
st.write("Opens the store that `scaling refit` writes every night.")
path = st.text_input(
    "Store",
    key="store",
    placeholder="a directory on this machine",
    help="The directory given to scaling refit --store.",
)
if not path:
    st.info("No store is open. Make one with: scaling refit RUNS --law chinchilla --by COLUMN --store DIR")
    st.stop()
if not Path(path).is_dir():
    st.error(inputs.escape(f"there is no directory {path!r}."))
    st.stop()
with inputs.sentences():
    st.subheader("State")
    inputs.show_table(refitting.status(path))
    st.subheader("What the last refit changed")
    changes = refitting.changed(path)
if changes.empty:
    st.write("Nothing moved.")
else:
    inputs.show_table(changes)
inputs.downloads("changed", changes)
