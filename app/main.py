"""The dashboard: navigation, and what the address says beside the inputs. Start it with `scaling app`."""

from pathlib import Path

import streamlit as st
import streamlit.delta_generator

# else the framework, at the first thing shown, looks through all modules for a console to warn: a tenth of a second
streamlit.delta_generator._use_warning_has_been_displayed = True
st.set_page_config(page_title="Scaling laws", page_icon="📈", layout="wide")

import link  # noqa: E402  (the page's configuration comes first)
import warm  # noqa: E402

PAGES = (
    ("start", "Start", "home"), ("runs", "Runs", "table_chart"), ("fit", "Fit", "show_chart"), ("plan", "Plan", "route"),
    ("descent", "Double descent", "airline_stops"), ("emergence", "Emergence", "trending_up"), ("grokking", "Grokking", "hourglass"),
    ("batch", "Batch", "inventory"), ("library", "Library", "menu_book"),
)  # fmt: skip
page = st.navigation(
    [
        st.Page(f"views/{name}.py", title=title, icon=f":material/{icon}:", url_path=name, default=name == "start")
        for name, title, icon in PAGES
    ]
)
st.html(Path(__file__).with_name("style.css"))
with link.followed(page.title):
    page.run()
warm.later()
