"""What is done once per server process, before the first page."""

from __future__ import annotations

import gc

import streamlit as st
import torch

from toydiff.ui import live
from toydiff.ui.memory import few_arenas, large_apart
from toydiff.ui.studio import studio


@st.cache_resource
def prepare() -> None:
    """Make room for a class: processes that train and that paint, one thread per matrix product, and a garbage
    collector that skips the libraries.

    torch leaves a heap of a million objects. A collection that walks it holds the interpreter, and with it every
    student, for a second; frozen objects are not walked. (Streamlit's own collection after every script run is off
    in .streamlit/config.toml.)
    """
    few_arenas()
    large_apart()
    live.prepare()
    studio().start()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()
