"""A user's pictures on the page of images, and networks that were kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import PurePosixPath

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from toydiff.data import user_data
from toydiff.data.pictures import MAX_PICTURES, MAX_PIXELS, MAX_ZIP_BYTES, SUFFIXES, Skipped, Source, read
from toydiff.experiments import checkpoint
from toydiff.experiments.checkpoint import Checkpoint
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.live import ImageRun
from toydiff.text import shown, words
from toydiff.ui import state
from toydiff.ui.export import DownloadFile, made_on_demand
from toydiff.ui.images import load
from toydiff.ui.rendering import cached_in_session, made_bit_by_bit
from toydiff.ui.still_images import enlarged

PICTURE_SIDES = (8, 16, 32)
PREVIEW = 24  # squares that are shown before they are used
LISTED = 50  # files that are named with what was wrong
UPLOAD_MEGABYTES = MAX_ZIP_BYTES // 10**6  # of one upload, all files together


def offer(run: ImageRun) -> None:
    """The buttons in the side bar: own pictures, and the network of this run as a file."""
    with st.sidebar:
        if st.button(words("images.bring"), key="images-bring", icon=":material/add_photo_alternate:", width="stretch"):
            own_pictures()
        name = f"toydiff-{run.experiment.data}.safetensors"
        network = DownloadFile(name, "application/octet-stream", ":material/save:", "images.keep")
        made_on_demand(network, run.packed, key="images-keep", of=run)
        if st.button(words("images.open"), key="images-open", icon=":material/upload_file:", width="stretch"):
            open_network()


def _forget() -> None:
    state.session().kept.pop("own-pictures", None)


@st.dialog(words("images.bring"), width="medium", on_dismiss=_forget)
def own_pictures() -> None:
    """Upload pictures, see what becomes of them, and use them with a button. Until then nothing changes."""
    limits = {"most": f"{MAX_PICTURES:,}", "millions": MAX_PIXELS // 10**6, "megabytes": UPLOAD_MEGABYTES}
    st.markdown(words("images.bring_about", **limits))
    kinds = [*(suffix.removeprefix(".") for suffix in sorted(SUFFIXES)), "zip"]
    files = st.file_uploader(
        words("images.files"), kinds, accept_multiple_files=True, key="images-files", max_upload_size=UPLOAD_MEGABYTES
    )
    names = {side: f"{side} × {side}" for side in PICTURE_SIDES}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        side = st.radio(
            words("images.side"), names, index=1, key="images-side", horizontal=True, format_func=names.__getitem__
        )
        colour = st.toggle(words("images.colour"), key="images-colour")
    if not files:
        return
    try:
        key = _ids(files), side, colour
        make = partial(made_bit_by_bit, read, source(files), side, colour=colour)
        found = cached_in_session("own-pictures", key, make)
    except ValueError as error:
        st.error(str(error))
        return
    images, skipped = found
    st.markdown(words("images.found", n=f"{len(images.x):,}", shown=min(PREVIEW, len(images.x))))
    enlarged([("", picture) for picture in images.pixels(images.x[:PREVIEW])], side=64)
    if st.button(words("images.use"), type="primary", key="images-use"):
        state.use_dataset(user_data.keep(_title(files), images))
        _forget()
        st.rerun()
    _list(skipped)


def _ids(files: Sequence[UploadedFile]) -> tuple[str, ...]:
    return tuple(file.file_id for file in files)


def source(files: Sequence[UploadedFile]) -> Source:
    """One ZIP as it is, several pictures by their names. ValueError for a ZIP among other files."""
    zips = [file for file in files if PurePosixPath(file.name.lower()).suffix == ".zip"]
    if zips and len(files) > 1:
        raise ValueError(words("images.zip_alone"))
    if zips:
        return zips[0].getvalue()
    named: dict[str, bytes] = {}
    for number, file in enumerate(files, 1):  # two folders may each have a 1.png
        named[file.name if file.name not in named else f"{number}/{file.name}"] = file.getvalue()
    return named


def _title(files: Sequence[UploadedFile]) -> str:
    return PurePosixPath(files[0].name).stem if len(files) == 1 else words("images.own")


def _list(skipped: Sequence[Skipped]) -> None:
    """The first LISTED files that are left out, and why. As text: a file name is not markup."""
    if not skipped:
        return
    lines = [f"{name}: {reason}" for name, reason in skipped[:LISTED]]
    if len(skipped) > LISTED:
        lines.append(words("images.more_skipped", n=f"{len(skipped) - LISTED:,}"))
    with st.expander(words("images.skipped", n=f"{len(skipped):,}"), expanded=len(skipped) <= 5):
        st.text("\n".join(lines))


@st.dialog(words("images.open"))
def open_network() -> None:
    """Open a network file in place of the page's training. A file that cannot be used changes nothing."""
    st.markdown(words("images.open_about", megabytes=UPLOAD_MEGABYTES))
    file = st.file_uploader(words("images.file"), "safetensors", key="images-file", max_upload_size=UPLOAD_MEGABYTES)
    if file is None:
        return
    try:
        name = shown(file.name)
        put_in_place(checkpoint.unpack(file.getvalue(), name), name)
    except ValueError as error:
        st.error(str(error))
        return
    st.rerun()


def put_in_place(found: Checkpoint, name: str) -> None:
    """The training in a file, with its settings and data, as this session's. ValueError, and nothing has changed, if
    that cannot be; `name` is for the message."""
    experiment = found.experiment
    if not isinstance(experiment, ImageExperiment):
        raise ValueError(words("images.of_points", file=name))
    images = load(experiment.data, experiment.n, experiment.seed)
    if found.state is not None and found.shape != images.shape:
        shape, other = (" × ".join(str(size) for size in each) for each in (found.shape, images.shape))
        raise ValueError(words("cli.other_shape", shape=shape, other=other))
    state.fresh_image_run(experiment, images, found.state)
    if found.data is not None:
        state.use_dataset(found.data)
    state.change_images(**asdict(experiment))
