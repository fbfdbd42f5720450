"""Whatever comes in, from a link, a file, a mouse or a full disk: a sentence, a page that goes on, and nothing lost."""

import errno
import io
import json
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
import torch
from PIL import Image
from safetensors import torch as safetensors
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.testing.v1 import AppTest

from tests.test_pages import APP, FAST, NET, experiment, film, fine, open_page, press
from tests.waiting import PATIENCE
from toydiff.cli.main import main
from toydiff.data import files, pictures, silhouettes, user_data
from toydiff.data.images import Images
from toydiff.data.points import MIN_POINTS
from toydiff.draw.files import numbers
from toydiff.draw.style import LOOK
from toydiff.experiments.checkpoint import _sum, pack
from toydiff.experiments.experiment import PREDICTORS, Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server import live
from toydiff.server.limits import Limits, limits
from toydiff.server.sessions import FREED_AFTER_SECONDS
from toydiff.text import words
from toydiff.ui import cost, export, runs, state, uploads
from toydiff.ui.page import PAGES
from toydiff.ui.pictures import UPLOAD_MEGABYTES

HTML = "<img src=x onerror=alert(1)>"
MARKUP = set("<>`*[]$|\\")
RING = np.stack([np.cos(np.linspace(0, 6, 50)), np.sin(np.linspace(0, 6, 50))], 1)


pytestmark = pytest.mark.usefixtures("few_samples")


def sentences(at: AppTest) -> list[str]:
    """What a page complains about."""
    return [element.value for element in (*at.warning, *at.error)]


# ---------------------------------------------------------------- files


def csv(points: np.ndarray, header: str = "x,y") -> bytes:
    return "\n".join([header, *(f"{x},{y}" for x, y in points)]).encode()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def huge_png() -> bytes:
    """A few bytes that promise 10^10 pixels."""
    parts = (
        b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0),
        b"IDAT" + zlib.compress(bytes(9)),
        b"IEND",
    )
    packed = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def bomb() -> bytes:
    """60 kB that unpack to 60 MB of zeros."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", bytes(60_000_000))
    return file.getvalue()


def few(count: int) -> str:
    return words("bring.few", least=MIN_POINTS, count=count)


NOT_USED: dict[str, tuple[str, Callable[[], bytes], Callable[[], str]]] = {
    "nothing": ("a.csv", lambda: b"", lambda: words("bring.empty")),
    "a header": ("a.csv", lambda: b"x,y\n", lambda: words("bring.columns", count=0)),
    "one point": ("a.csv", lambda: b"x,y\n1,2\n", lambda: few(1)),
    "two points": ("a.csv", lambda: b"x,y\n1,2\n3,4\n", lambda: few(2)),
    "all points equal": ("a.csv", lambda: csv(np.ones((50, 2))), lambda: few(1)),
    "one column": ("a.csv", lambda: b"x\n1\n2\n3\n", lambda: words("bring.columns", count=1)),
    "text": ("a.csv", lambda: b"dear,diary\nto,day\nI,am\n", lambda: words("bring.columns", count=0)),
    "nothing but NaN": ("a.npy", lambda: npy(np.full((50, 2), np.nan)), lambda: few(0)),
    "nothing but infinity": ("a.npy", lambda: npy(np.full((50, 2), np.inf)), lambda: few(0)),
    "10 million rows": (
        "a.csv",
        lambda: b"1,2\n" * 10_000_000,
        lambda: words("bring.long", rows="1,000,000", cells="3,000,000"),
    ),
    "an NPY with pickles": ("a.npy", lambda: npy(np.array([[{}, 1]] * 50, object)), lambda: words("bring.pickle")),
    "a pickle": ("a.csv", lambda: pickle.dumps({"x": [1, 2, 3]}), lambda: words("bring.pickle")),
    "a ZIP bomb": ("a.npz", bomb, lambda: words("bring.unpacked", megabytes=50)),
    "a PNG bomb": (
        "a.png",
        huge_png,
        lambda: words("bring.picture", reason=words("pictures.pixels", millions=25)),
    ),
    "half a PNG": (
        "a.png",
        lambda: png(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[:900],
        lambda: words("bring.picture", reason=words("pictures.broken")),
    ),
    "an NPY of True rows": (
        "a.npy",
        lambda: npy(np.ones((1, 2))).replace(b"(1, 2)", b"(True, 2)"),
        lambda: words("bring.damaged"),
    ),
    "half an NPY": ("a.npy", lambda: npy(RING)[:300], lambda: words("bring.damaged")),
    "half an NPZ": ("a.npz", lambda: bomb()[:200], lambda: words("pictures.not_a_zip")),
    "a web page": (f"{HTML}.csv", lambda: f"<html>{HTML}</html>".encode(), lambda: words("bring.markup")),
}


def with_file(name: str, content: bytes) -> AppTest:
    """The page of own data, where a file has been chosen."""
    at = open_page("own", **FAST)
    at.button_group(key="own-way").set_value("file")
    at.run().file_uploader(key="own-file").set_value((name, content, ""))
    return fine(at.run())


def learn(at: AppTest) -> AppTest:
    """Use what was brought, and look at it in a lesson."""
    press(at, "own-learn")
    return fine(at.switch_page("pages/forward.py").run())


@cache
def with_files() -> AppTest:
    """The page of own data, where files are chosen one after the other, and none can be used."""
    return with_file("a.csv", b"")


@pytest.mark.parametrize("which", NOT_USED)
def test_a_file_that_cannot_be_used(which):
    name, content, sentence = NOT_USED[which]
    at = with_files()
    at.file_uploader(key="own-file").set_value((name, content(), ""))
    assert sentences(fine(at.run())) == [sentence()]
    assert experiment(at) == Experiment(points=100, particles=16, T=10)  # what was in use still is
    assert not at.session_state["session"].user_data
    assert not [button for button in at.button if button.key == "own-learn"]


def test_after_a_file_that_cannot_be_used_another_one_can():
    name, content, _ = NOT_USED["an NPY with pickles"]
    at = with_file(name, content())
    at.file_uploader(key="own-file").set_value(("good.csv", csv(RING), ""))
    learn(fine(at.run()))
    assert user_data.title(experiment(at).dataset) == "good"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", csv(RING).split(b"\n", 1)[1]),  # without a header
        ("a.csv", csv(1e308 * RING)),
        ("a.csv", csv(1e-308 * RING)),
        ("a.csv", csv(RING) + b"\nnan,1\n1,inf\n-inf,nan\n"),
        ("../../../etc/passwd.csv", csv(RING)),
        ("C:\\Windows\\{0}%s.csv", csv(RING)),
        (f"{HTML}.csv", csv(RING, f"x{HTML},**y**")),
        (f"{'x' * 5000}.csv", csv(RING, "{x},{}")),
        ("\u202egpj.csv", csv(RING)),
    ],
    ids=range(9),
)
def test_a_strange_file_with_good_points(name, content):
    at = learn(with_file(name, content))
    assert not sentences(at)
    title = user_data.title(experiment(at).dataset)
    assert len(title) <= 60
    assert not MARKUP & set(title)
    assert not {"/", "\\", "\u202e", "\0"} & set(title)
    data = experiment(at).data()
    assert data.shape == (50, 2)
    assert data.isfinite().all()
    assert film(at).header["particles"] == 16
    assert at.caption[0].value.startswith(title)  # the stamp under the film


# ---------------------------------------------------------------- lessons in files


def forged(change: dict[str, object] | None = None, **tensors: torch.Tensor) -> bytes:
    """A lesson with a training, in which somebody has changed the header and tensors, and the sum with them."""
    experiment = Experiment(points=100, T=10, width=8, depth=1, batch=16)
    trainer = experiment.trainer()
    trainer.advance(2)
    content = pack(trainer, experiment)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    text = json.dumps(json.loads(header["toydiff"]) | (change or {}))
    changed = safetensors.load(content) | tensors
    return safetensors.save(changed, {"toydiff": text, "sum": _sum(text, changed)})


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"model.net.0.bias": torch.full((8,), value)}


def raw(header: str, body: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header.encode() + body


def own_images(change: dict[str, object]) -> bytes:
    """A lesson on somebody's own images, its header changed."""
    one = user_data.keep("mine", Images.standardized("mine", torch.rand(12, 1, 8, 8)))
    content = pack(None, ImageExperiment(data=one.key))
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    text, tensors = json.loads(header["toydiff"]), safetensors.load(content)
    text = json.dumps(text | {"data": text["data"] | change})
    return safetensors.save(tensors, {"toydiff": text, "sum": _sum(text, tensors)})


WIDER = Experiment(points=100, T=10, width=16, depth=1, batch=16).to_params()

NO_LESSONS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "foreign"),
    "a pickle": (lambda: pickle.dumps(torch.zeros(2)), "foreign"),
    "a header of 2^63 bytes": (lambda: b"\xff" * 8, "foreign"),
    "a deep header": (lambda: raw('{"a":' * 100_000), "foreign"),
    "a tensor of terabytes": (
        lambda: raw('{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'),
        "foreign",
    ),
    "half a file": (lambda: forged()[:3000], "foreign"),
    "a flipped bit": (lambda: forged()[:-1] + bytes([forged()[-1] ^ 1]), "damaged"),
    "another network": (lambda: forged({"experiment": WIDER}), "no_fit"),
    "weights that are no numbers": (lambda: forged(**weights(torch.nan)), "no_fit"),
    "weights of another shape": (lambda: forged(**{"model.net.0.bias": torch.zeros(9)}), "no_fit"),
    "more steps than there are": (lambda: forged({"step": 10**30}), "no_fit"),
    "no step": (lambda: forged({"step": None}), "no_fit"),
    "a shape of 10^30": (lambda: forged({"shape": [10**30]}), "no_fit"),
    "settings out of range": (lambda: forged({"experiment": {"T": "10000000"}}), "no_fit"),
    "settings that are a list": (lambda: forged({"experiment": [HTML]}), "no_fit"),
    "a mean of 10^400": (lambda: own_images({"mean": 10**400}), "no_fit"),
    "a tensor without numbers, but with strides": (
        lambda: raw('{"a":{"dtype":"F32","shape":[0,9223372036854775807,2],"data_offsets":[0,0]}}'),
        "foreign",
    ),
    "another version": (lambda: forged({"version": 1e9}), "no_fit"),
}


def _opening() -> None:
    """The dialog, until it has done its work; below it the data in use."""
    import streamlit as st

    from toydiff.ui import own, state

    experiment, _ = state.experiment()
    state.session()
    if "own-opened" not in st.session_state:
        own.open_lesson()
    st.text(f"{len(experiment.data())} points")


@pytest.mark.parametrize("which", NO_LESSONS)
def test_a_lesson_that_cannot_be_used(which):
    make, sentence = NO_LESSONS[which]
    at = AppTest.from_function(_opening, default_timeout=PATIENCE)
    at.query_params.update(FAST)
    fine(at.run()).file_uploader(key="own-lesson").set_value((f"{HTML}.safetensors", make(), ""))
    shown = "‹img src=x onerror=alert(1)›.safetensors"
    assert sentences(fine(at.run())) == [words(f"cli.{sentence}", file=shown)]
    assert experiment(at) == Experiment(points=100, particles=16, T=10)
    assert at.session_state["session"].run is None
    assert at.text[0].value == "100 points"
    at.file_uploader(key="own-lesson").set_value(("good.safetensors", forged(), ""))
    assert not sentences(fine(at.run()))
    assert experiment(at).width == 8


# ---------------------------------------------------------------- links

STRANGERS = {"dataset": "own-ffffffffffffffff", "image_data": "own-0000000000000000"}


@pytest.mark.slow
@pytest.mark.parametrize("lesson", PAGES)
def test_the_key_of_data_that_is_not_here(lesson):
    at = fine(open_page(lesson, **FAST | STRANGERS))
    assert sentences(at) == [words("problems.gone")] * 2
    assert (experiment(at).dataset, at.session_state["image_experiment"].data) == ("spiral", "digits")
    assert not sentences(fine(at.run()))


@pytest.mark.parametrize("count", [400, 10_000])
def test_many_parameters_are_not_many_sentences(count):
    """Of more than a thousand Streamlit reads none."""
    many = {f"unknown_{i}": HTML for i in range(count)} | {f"image_{i}": "x" for i in range(count)}
    at = fine(open_page("forward", **FAST | many | {"T": HTML}))
    assert len(sentences(at)) == (1 if count < 1000 else 0)
    assert {name: at.query_params[name] for name in at.query_params} == experiment(at).to_params()


def test_a_link_of_ten_megabytes_is_not_read():
    at = fine(open_page("home", **FAST | {"T": "9" * 10_000_000}))
    assert not sentences(at)
    assert experiment(at) == Experiment()


@pytest.mark.parametrize(
    "value",
    ["9" * 100_000, "\0" * 10_000, "\u202e" + HTML, "1e999999999", "{0.__class__}", "%s%n"],
    ids=range(6),
)
def test_values_that_are_none(value):
    """The page names them in a few words, and shows the usual instead."""
    at = fine(open_page("forward", **FAST | {"T": value, "schedule": value, "image_lr": value}))
    said = sentences(at)
    assert len(said) == 3
    assert max(map(len, said)) < 400
    assert experiment(at) == Experiment(points=100, particles=16, T=100)
    assert not sentences(fine(at.run()))


def test_a_parameter_that_stands_there_many_times():
    at = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    at.query_params.update(FAST)
    at.query_params["T"] = ["20"] * 500 + [HTML, "30"]
    fine(at.switch_page("pages/forward.py").run())
    assert experiment(at).T == 30  # the last one counts


# ---------------------------------------------------------------- work and room

WORST = {"T": "1000", "points": "10000", "particles": "1000", "sampler": "heun"}
POINTS = [name for name in PAGES if name not in ("images", "between", "own", "teacher")]


def refusal(text: str) -> bool:
    return text.startswith(tuple(words(f"bounds.{name}").split("{")[0] for name in ("long", "large")))


@pytest.mark.slow
@pytest.mark.parametrize("lesson", POINTS)
def test_the_most_that_a_link_can_ask_of_a_page(lesson):
    """A picture, or a sentence that says what to lower: either within the time that a test may take."""
    at = fine(open_page(lesson, **WORST))
    assert experiment(at).T == 1000
    refused = any(refusal(text) for text in sentences(at))
    assert refused == (not at.main.get("bidi_component"))
    assert refused == (lesson in ("forward", "reverse", "field", "cost"))


def test_fewer_particles_are_the_way_out(monkeypatch):
    monkeypatch.setattr(runs, "MAX_PLACES", 3 * 10 * 100)
    at = fine(open_page("reverse", **FAST | {"particles": "1000"}))
    assert sentences(at) == [words("bounds.large", times="10")]
    assert not at.main.get("bidi_component")
    (button,) = [button for button in at.button if button.label == words("bounds.fewer", particles=100)]
    fine(button.click().run())
    assert not sentences(at)
    assert film(at).header["particles"] == experiment(at).particles == 100


@pytest.mark.parametrize("lesson", ["forward", "reverse"])
def test_a_film_has_its_limit(lesson):
    at = fine(open_page(lesson, T="1000", points="10", particles="1000"))
    assert refusal(sentences(at)[0])
    for slider in at.select_slider:
        if slider.key == "control-particles":
            slider.set_value(16)
    fine(at.run())
    assert film(at).header["particles"] == 16


def test_a_large_network_is_not_asked_for_too_much(monkeypatch):
    """Nor is it built: the page says so before."""

    def page() -> None:
        import streamlit as st

        from toydiff.experiments.experiment import Experiment
        from toydiff.ui import cost, runs, state

        def never(*_: object) -> None:
            raise AssertionError

        state.experiment()
        if st.button("costs"):
            cost.bench(Experiment(T=1000, width=512, depth=8), (never, 1))
        runs.network_scene(Experiment(T=1000, width=512, depth=8, particles=500), never, 1)

    at = fine(AppTest.from_function(page, default_timeout=PATIENCE).run())
    assert len(sentences(at)) == 1
    fine(at.button[0].click().run())
    assert len(sentences(at)) == 1


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_what_an_answer_costs_grows_with_what_it_is_made_of(predictor):
    small = Experiment(points=100, width=8, depth=1)
    for more in ({"points": 10_000}, {"width": 512}, {"depth": 8}):
        grows = ("points" in more) == (predictor == "exact")
        assert (replace(small, **more).seconds(predictor) > small.seconds(predictor)) == grows
    usual = Experiment(particles=1000)
    assert 3 * usual.T * usual.particles * usual.seconds(predictor) < limits().seconds / 5


# ---------------------------------------------------------------- impatience


def test_two_clicks_on_start_are_one_training():
    """The second click comes before the page has answered the first: the button still says start."""
    at = open_page("train", **NET)
    for _ in range(2):
        at.button(key="go").click()
    fine(at.run())
    mine = at.session_state["session"].run
    assert [training for training in live.trainings() if training.running] == [mine]
    mine.pause()
    assert mine.step == len(mine.snapshot().losses)


def test_two_clicks_on_reset_lose_nothing_more():
    at = press(open_page("train", **NET), "one")
    fresh = at.session_state["session"].run
    for _ in range(2):
        at.button(key="reset").click()
    fine(at.run())
    assert at.session_state["session"].run is not fresh
    assert at.session_state["session"].run.step == 0
    assert not at.session_state["session"].run.running


def test_two_clicks_on_an_export_make_one_file(monkeypatch):
    """Films and strips are the browser's: tests/browser/test_impatience.py."""
    at = open_page("forward", **FAST)
    made = []
    monkeypatch.setattr(export, "numbers", lambda scene: made.append(len(scene.ticks)) or b"PK")
    for _ in range(2):
        at.button(key="forward-npz").click()
    fine(at.run())
    assert made == [11]
    assert len([button for button in at.get("download_button") if button.key == "forward-npz-save"]) == 1


# ---------------------------------------------------------------- one upload after the other


def test_of_many_uploads_only_the_last_ones_stay(monkeypatch):
    manager, data = MemoryUploadedFileManager("/upload"), bytes(100)
    monkeypatch.setattr(uploads, "MAX_UPLOADED_BYTES", 250)
    for tab, count in (("many", 5), ("few", 2)):
        for number in range(count):
            manager.add_file(tab, UploadedFileRec(f"{number}", "a.csv", "text/csv", data))
    uploads.forget(manager)
    assert {tab: list(files) for tab, files in manager.file_storage.items()} == {"many": ["3", "4"], "few": ["0", "1"]}


def test_the_largest_upload_that_is_allowed_stays():
    assert st.get_option("server.maxUploadSize") * 1_048_576 < uploads.MAX_UPLOADED_BYTES


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def no_disk(monkeypatch) -> None:
    """Nothing can be written anywhere."""
    nowhere = "/proc/nowhere"
    monkeypatch.setenv("HOME", nowhere)
    for name in ("TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setattr(tempfile, "tempdir", nowhere)

    def full(path: Path, mode: str = "r", *more: object, **options: object) -> io.IOBase:
        if set(mode) & set("wax+"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return really(path, mode, *more, **options)

    really = io.open
    monkeypatch.setattr("builtins.open", full)
    monkeypatch.setattr(io, "open", full)


def test_exports_need_no_disk(no_disk):
    at = open_page("forward", **FAST)
    press(at, "forward-npz")
    assert any(button.key == "forward-npz-save" for button in at.get("download_button"))
    scene, _, _ = runs.forward_scene(experiment(at))
    assert numbers(scene).startswith(b"PK")


def test_a_film_for_which_there_is_no_room_leaves_no_half_of_it(tmp_path, monkeypatch, capsys):
    out = tmp_path / "spiral.gif"
    out.write_bytes(b"the one before")

    def half(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", half)
    small = ["gif", "--points", "20", "--particles", "3", "--T", "10"]
    assert main([*small, "--out", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"toydiff: {words('bounds.disk', file=out, reason='No space left on device')}"
    assert [path.name for path in tmp_path.iterdir()] == ["spiral.gif"]
    monkeypatch.undo()
    assert out.read_bytes() == b"the one before"
    assert main([*small, "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"GIF89a")
    assert [path.name for path in tmp_path.iterdir()] == ["spiral.gif"]


# ---------------------------------------------------------------- what is written down


def test_the_limits_in_the_security_notes_are_those_of_the_code():
    notes = " ".join((APP.parent / "SECURITY.md").read_text("utf-8").split())
    frames = LOOK.frames  # of the browser's films and the terminal's
    table, most = files.limits(), {name: f"{high:,.0f}" for name, (_, high) in Experiment.ranges().items()}
    for limit in (
        f"{table['megabytes']} MB, {table['rows']} rows, {table['columns']} columns, {table['cells']} cells",
        f"{table['megabytes']} MB, {table['millions']} million pixels",
        f"{pictures.MAX_ZIP_BYTES // 10**6} MB packed and unpacked, {pictures.MAX_PICTURES:,} pictures",
        f"{pictures.MAX_FILES:,} files, {pictures.ALL_PIXELS // 10**6:,} million pixels",
        f"a file with a lesson | {UPLOAD_MEGABYTES} MB",
        f"a word to learn | {silhouettes.MAX_LETTERS} characters",
        f"points | {most['points']},",
        f"T, particles | {most['T']} each",
        f"{most['depth']} layers of {most['width']}, batches of {most['batch']}",
        f"{Limits().seconds} seconds of work",
        f"{runs.MAX_PLACES:,} particles in all frames",
        f"{frames} frames of a GIF",
        f"{state.IMAGE_RUNS} trainings on images, {state.MAX_USER_DATASETS} sets of data",
        f"after {FREED_AFTER_SECONDS:.0f} seconds away",
    ):
        assert limit in notes
    assert most["T"] == most["particles"]
    assert cost.COST_BUDGET == 3
