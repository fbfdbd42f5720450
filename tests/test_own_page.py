"""The page of one's own data: what is drawn, brought or typed becomes a dataset; lessons go into files and come back;
whatever is brought, nothing breaks."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests.test_pages import APP, FAST, experiment, fine, open_page
from tests.test_player import Film, unpacked
from tests.waiting import PATIENCE
from toydiff.data import silhouettes, user_data
from toydiff.data.images import Images
from toydiff.data.points import standardized
from toydiff.experiments import checkpoint
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.live import Run
from toydiff.text import words
from toydiff.ui import own as lesson

TURN = np.linspace(0, 2 * math.pi, 300, endpoint=False)
RING = np.stack([0.5 * np.cos(TURN), 0.25 * np.sin(TURN) + 0.3], 1).astype(np.float32)
HOSTILE = "<img src=x onerror=alert(1)>**a** [b](c) $d$"
SAFE = "‹img src=x onerror=alert(1)›∗∗a∗∗ (b)(c) ¤d¤"


def opened(way: str = "draw", drawing: np.ndarray | None = None, **params: str) -> AppTest:
    at = open_page("own", **FAST | params)
    if drawing is not None:  # as if one had been on another page since
        at.session_state["session"].kept["own-drawing"] = drawing
    if way != "draw":
        at.button_group(key="own-way").set_value(way)
    return fine(at.run())


def brought(name: str, content: bytes) -> AppTest:
    """The page with a file on it."""
    return upload(opened("file"), name, content)


def upload(at: AppTest, name: str, content: bytes, key: str = "own-file") -> AppTest:
    at.file_uploader(key=key).set_value((name, content, ""))
    return fine(at.run())


def learn(at: AppTest) -> AppTest:
    return fine(at.button(key="own-learn").click().run())


def offered(at: AppTest) -> bool:
    return any(button.key == "own-learn" for button in at.button)


def preview(at: AppTest) -> Film:
    (player,) = [one for one in at.main.get("bidi_component") if one.key == "own-preview"]
    return unpacked(player.proto.bytes)


def panel(at: AppTest) -> dict[str, object]:
    return preview(at).header["panels"][0]


def csv(*rows: str) -> bytes:
    return "\n".join(rows).encode()


def png(dark: tuple[int, int, int, int], ink: int = 0, paper: int = 255) -> bytes:
    """A rectangle (left, top, right, bottom) on a square of 100 pixels."""
    picture = Image.new("L", (100, 100), paper)
    picture.paste(ink, dark)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def in_use(at: AppTest) -> torch.Tensor:
    return user_data.find(experiment(at).dataset).data


# ---------------------------------------------------------------- the page


def test_at_first_there_is_a_canvas_beside_the_data_in_use():
    at = opened()
    assert [one.key for one in at.main.get("bidi_component")] == ["own-canvas", "own-preview"]
    assert panel(at)["title"] == words("own.in_use", data=words("names.spiral"))
    assert [info.value for info in at.info] == [words("own.begin_draw")]
    assert not offered(at)
    for way in ("file", "text"):
        assert [info.value for info in opened(way).info] == [words(f"own.begin_{way}")]


# ---------------------------------------------------------------- drawn


def test_a_drawing_is_seen_as_the_network_will_see_it_and_then_it_is_the_data():
    at = opened(drawing=RING)
    assert panel(at)["title"] == words("own.drawing")
    expected = (RING - RING.mean(0)) / np.sqrt(RING.var(0).mean())
    film = preview(at)
    shown = film.places(panel(at)["x"], len(film.header["ticks"]), len(RING), 2)[0]
    near = np.linalg.norm(shown[:, None] - expected, axis=2) < 1e-3
    assert near.sum(0).tolist() == near.sum(1).tolist() == [1] * len(RING)  # the same points in another order
    assert experiment(at).dataset == "spiral"  # nothing is used before one says so

    at = learn(at)
    assert at.markdown[0].value.endswith(words("titles.train"))
    assert in_use(at).numpy() == pytest.approx(expected, abs=2e-4)
    assert (experiment(at).points, experiment(at).usual_size) == (300, 300)
    assert user_data.title(experiment(at).dataset) == words("own.drawing")
    for page in ("forward", "train", "reverse", "field", "target", "cost"):
        fine(at.switch_page(f"pages/{page}.py").run())
        assert at.selectbox(key="control-dataset").value == experiment(at).dataset
    fine(at.switch_page("pages/own.py").run())
    assert at.session_state["session"].kept["own-drawing"] == pytest.approx(RING, abs=1e-4)
    assert panel(at)["title"] == words("own.drawing")


@pytest.mark.parametrize(
    "points", [[[0.5, 0.5]], [[0.1, 0.2], [0.3, 0.4]], [[0.25, 0.5]] * 50, [[0.1, 0.2], [0.3, 0.4]] * 9]
)
def test_too_few_places_are_no_cloud_yet(points):
    at = opened(drawing=np.array(points, np.float32))
    assert [warning.value for warning in at.warning] == [words("own.few", least=3)]
    assert not offered(at)
    assert panel(at)["title"] == words("own.in_use", data=words("names.spiral"))


@pytest.mark.parametrize(("points", "hints"), [(RING[:3], 1), (RING[:199], 1), (RING[:200], 0)])
def test_few_points_will_do_but_more_show_more(points, hints):
    at = opened(drawing=points)
    assert [caption.value for caption in at.caption] == [words("own.more", few=200)] * hints
    assert len(in_use(learn(at))) == len(points)


def test_it_has_the_name_that_one_types_which_is_never_markup():
    at = opened(drawing=RING)
    assert at.text_input(key="own-name-draw").proto.max_chars == 40
    at.text_input(key="own-name-draw").set_value("<b>*Cat*</b>").run()
    assert panel(at)["title"] == "‹b›∗Cat∗‹/b›"
    at = learn(at)
    assert user_data.title(experiment(at).dataset) == "‹b›∗Cat∗‹/b›"
    at = fine(at.switch_page("pages/own.py").run())
    assert any("‹b›∗Cat∗‹/b›" in markdown.value for markdown in at.markdown)
    assert not any("<b>" in markdown.value for markdown in at.markdown)


def test_two_drawings_of_one_name_can_be_told_apart():
    at = learn(opened(drawing=RING))
    at.session_state["session"].kept["own-drawing"] = RING[:250]
    fine(at.switch_page("pages/own.py").run())
    first = experiment(at).dataset
    at = learn(at)
    assert experiment(at).dataset != first
    assert user_data.title(experiment(at).dataset) == f"{words('own.drawing')} 2"
    again = learn(fine(at.switch_page("pages/own.py").run()))
    assert user_data.title(experiment(again).dataset) == f"{words('own.drawing')} 2"  # the same one, under its own name
    assert len(again.session_state["session"].user_data) == 2


def test_the_page_alone_has_no_lesson_2_to_go_to_and_says_what_is_in_use():
    at = AppTest.from_file(str(APP.parent / "pages" / "own.py"), default_timeout=PATIENCE)
    fine(at.run()).session_state["session"].kept["own-drawing"] = RING
    at = learn(fine(at.run()))
    assert at.markdown[0].value.endswith(words("titles.own"))
    assert len(in_use(at)) == len(RING)
    assert any(words("own.drawing") in markdown.value for markdown in at.markdown)


def test_a_second_click_keeps_what_was_learned_since():
    at = opened()
    run = at.session_state["session"].run = Run(experiment(at).training)
    steps = []
    for _ in range(2):
        run.advance(3)
        at = fine(at.button(key="own-save").click().run())
        _, content = at.session_state["session"].shown["own-save-made"]
        steps.append(checkpoint.unpack(content, "it").state["step"])
    assert steps == [3, 6]


# ---------------------------------------------------------------- files


def test_a_table_of_three_columns_of_which_one_chooses_two():
    rows = [f"{math.cos(t):.4f},{10 * math.sin(t):.4f},{t:.4f}" for t in TURN]
    at = brought("my circle.csv", csv("a,b,c", *rows))
    (file,) = {box.key.removeprefix("own-x-") for box in at.selectbox if box.key.startswith("own-x-")}
    assert at.selectbox(key=f"own-x-{file}").options == ["a", "b", "c"]
    at.selectbox(key=f"own-y-{file}").set_value(2)
    fine(at.run())
    assert panel(at)["title"] == "my circle"
    expected = standardized(torch.tensor([[math.cos(t), t] for t in TURN]))
    assert "own-file" in at.session_state["session"].kept
    at = learn(at)
    assert in_use(at).numpy() == pytest.approx(expected.numpy(), abs=1e-3)
    assert "own-file" not in at.session_state["session"].kept  # it is not kept for longer than it is needed


def test_two_columns_leave_nothing_to_choose_and_each_axis_may_have_its_own_scale():
    at = brought("flat.tsv", csv("wide\tnarrow", *(f"{1000 * math.cos(t)}\t{math.sin(t)}" for t in TURN)))
    assert not [box for box in at.selectbox if box.key.startswith("own-")]
    assert [caption.value for caption in at.caption] == [
        words("bring.flat", wide="wide", narrow="narrow", times="1,000", toggle=words("own.scales"))
    ]
    (toggle,) = at.toggle
    toggle.set_value(True)
    assert not fine(at.run()).caption
    at = learn(at)
    assert in_use(at).std(0, correction=0).tolist() == pytest.approx([1, 1], abs=1e-3)


def test_a_file_is_read_once_and_not_kept_without_the_uploader(monkeypatch):
    reads = []
    read = lesson.files.open_file
    monkeypatch.setattr(lesson.files, "open_file", lambda name, content: reads.append(name) or read(name, content))
    at = brought("a.csv", csv("1,2", "3,4", "5,0"))
    fine(at.run())
    at.toggle[0].set_value(True)
    fine(at.run())
    assert reads == ["a.csv"]
    assert "own-file" in at.session_state["session"].kept
    at.button_group(key="own-way").set_value("draw")
    assert "own-file" not in fine(at.run()).session_state["session"].kept

    at = brought("a.csv", csv("1,2", "3,4", "5,0"))
    at.file_uploader(key="own-file").set_value(None)
    assert "own-file" not in fine(at.run()).session_state["session"].kept
    assert not offered(at)


def test_what_was_left_out_is_said():
    at = brought("holes.csv", csv("x,y", "1,2", "nan,3", "4,5", "6,1"))
    assert words("bring.left_out", count=1, rows=4) in at.caption[0].value
    assert panel(at)["notes"] == [words("own.note", points="3")]


def test_a_silhouette_has_as_many_points_as_one_likes_on_dark_or_on_light():
    at = brought("box.png", png((10, 40, 90, 60)))
    (count,) = at.main.slider
    count.set_value(500)
    fine(at.run())
    x = in_use(learn(at))
    assert len(x) == 500
    assert x[:, 0].std() > 2 * x[:, 1].std()  # the box is wide
    at = brought("box.png", png((10, 40, 90, 60)))
    at.radio[0].set_value("light")
    x = in_use(learn(fine(at.run())))
    assert len(x) == 3000
    assert x[:, 0].std() < x[:, 1].std()  # what is around it is not


BAD = {
    "a pickled npy": ("a.npy", npy(np.array([{"a": 1}, None], dtype=object)), "bring.pickle"),
    "a pickle": ("a.npy", b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtin", "bring.pickle"),
    "nothing": ("a.csv", b"", "bring.empty"),
    "an empty picture": ("a.png", b"", "bring.empty"),
    "another picture": ("a.heic", b"\0\0\0\x18ftypheic" + bytes(99), "bring.kind"),
    "no ink": ("a.png", png((0, 0, 1, 1), ink=255), "bring.no_ink"),
    "HTML": ("a.csv", b"<html><script>alert(1)</script>", "bring.markup"),
}


@pytest.mark.parametrize(("name", "content", "sentence"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_explained_in_one_sentence_and_changes_nothing(name, content, sentence):
    at = brought(name, content)
    assert [warning.value for warning in at.warning] == [words(sentence)]
    unchanged(at)


def test_the_same_for_sentences_with_figures():
    at = brought("a.csv", csv("x", "1", "2", "3"))
    assert [warning.value for warning in at.warning] == [words("bring.columns", count=1)]
    unchanged(at)
    at = brought("a.png", png((10, 40, 90, 60))[:80])
    assert [warning.value for warning in at.warning] == [words("bring.picture", reason=words("pictures.broken"))]
    unchanged(at)
    at = brought("a.csv", csv("1,1", "1,1", "2,2"))
    assert [warning.value for warning in at.warning] == [words("bring.few", least=3, count=2)]
    unchanged(at)


def unchanged(at: AppTest) -> None:
    assert not at.error
    assert not offered(at)
    assert experiment(at) == Experiment(points=100, particles=16, T=10)
    assert panel(at)["title"] == words("own.in_use", data=words("names.spiral"))


def test_names_of_files_and_columns_are_never_markup():
    at = brought(f"{HOSTILE}.csv", csv(f'x,"{HOSTILE}",z', "1,200,3", "2,-500,1", "3,300,2", "nan,1,1"))
    everything = [element.value for kind in ("markdown", "caption", "warning", "info") for element in getattr(at, kind)]
    assert any(SAFE in text for text in everything)  # the note on the column that spreads far
    (file,) = {box.key.removeprefix("own-x-") for box in at.selectbox if box.key.startswith("own-x-")}
    assert at.selectbox(key=f"own-x-{file}").options == ["x", SAFE, "z"]
    at = learn(at)
    everything += [element.value for element in at.markdown]
    everything += [text.placeholder for text in at.text_input]
    assert not any(part in text for text in everything for part in ("<img", "**a**", "[b](c)", "$d$"))
    assert user_data.title(experiment(at).dataset) == SAFE


# ---------------------------------------------------------------- typed


def test_a_word_becomes_points():
    at = opened("text")
    at.text_input(key="own-string").set_value(" Hi ")
    at.slider(key="own-typed").set_value(400)
    at = fine(at.run())
    assert panel(at)["title"] == "Hi"
    at = learn(at)
    assert in_use(at).equal(silhouettes.text("Hi", 400))
    assert user_data.title(experiment(at).dataset) == "Hi"


def test_what_joins_two_emoji_is_no_part_of_a_name():
    at = opened("text")
    at.text_input(key="own-string").set_value("a\u200db")
    assert panel(fine(at.run()))["title"] == "ab"


def test_what_cannot_be_drawn_is_explained():
    at = opened("text")
    sentences = {
        "a" * 13: words("bring.long_text", most=12),
        "\u200b": words("bring.no_text"),
        "\ue123": words("bring.no_font", character="?", code="U+E123"),
    }
    for string, sentence in sentences.items():
        at.text_input(key="own-string").set_value(string)
        assert [warning.value for warning in fine(at.run()).warning] == [sentence]
        unchanged(at)


# ---------------------------------------------------------------- lessons in files


def session(do: object) -> AppTest:
    """A session in which a function is called once, at the first run."""

    def page(do: object) -> None:
        import streamlit as st

        from toydiff.ui import state

        state.experiment()
        if "result" not in st.session_state:
            st.session_state.result = do()

    at = AppTest.from_function(page, args=(do,), default_timeout=PATIENCE)
    at.query_params.update(FAST)
    return fine(at.run())


def a_lesson() -> tuple[bytes, Experiment]:
    one = user_data.keep("ring", standardized(torch.from_numpy(RING)))
    chosen = Experiment(dataset=one.key, points=300, T=10, particles=16, width=8, seed=4)
    return lesson._packed(None, chosen), chosen


def test_a_lesson_in_a_file_has_its_settings_and_its_data_and_comes_back_with_them():
    content, chosen = a_lesson()  # nobody here holds the data any more
    assert not [key for key in user_data._held if key == chosen.dataset]
    at = session(lambda: lesson.put_in_place(content, "a"))
    assert experiment(at) == chosen
    assert in_use(at).equal(standardized(torch.from_numpy(RING)))
    assert at.query_params["dataset"] == chosen.dataset
    fine(at.run())
    again = checkpoint.unpack(lesson._packed(None, experiment(at)), "again")
    assert (again.experiment, again.data) == (chosen, user_data.find(chosen.dataset))


def test_a_trained_lesson_goes_on_where_it_was():
    one = user_data.keep("ring", standardized(torch.from_numpy(RING)))
    chosen = Experiment(dataset=one.key, points=300, T=10, particles=16, width=8, depth=1, batch=16, seed=4)
    run = Run(chosen.training)
    run.advance(3)
    content = lesson._packed(run, chosen)
    at = session(lambda: lesson.put_in_place(content, "a"))
    assert experiment(at) == chosen
    opened = at.session_state["session"].run
    assert (opened.step, opened.experiment) == (3, chosen.training)
    for both in (run, opened):
        both.advance(2)
    assert opened.snapshot().losses.equal(run.snapshot().losses)
    assert opened.snapshot().trajectory.end.equal(run.snapshot().trajectory.end)


def test_a_lesson_on_images_goes_to_their_page():
    pictures = Images.standardized("mine", torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    one = user_data.keep("mine", pictures)
    chosen = ImageExperiment(data=one.key, T=10, batch=8, n=12)
    content = checkpoint.pack(None, chosen)
    at = session(lambda: lesson.put_in_place(content, "a"))
    assert at.session_state["image_experiment"] == chosen
    assert experiment(at) == Experiment(points=100, particles=16, T=10)


def damaged() -> dict[str, tuple[bytes, str]]:
    content, _ = a_lesson()
    gone = content.replace(b"own-", b"OWN-", 1)
    return {
        "nothing": (b"", "cli.foreign"),
        "a part": (content[:-50], "cli.foreign"),
        "a table": (b"x,y\n1,2\n", "cli.foreign"),
        "one wrong byte": (content[:-1] + bytes([content[-1] ^ 1]), "cli.damaged"),
        "other settings": (gone, "cli.damaged"),
    }


@pytest.mark.parametrize("which", damaged())
def test_a_file_that_is_no_whole_lesson_changes_nothing(which):
    content, sentence = damaged()[which]
    at = AppTest.from_function(_opening, default_timeout=PATIENCE)
    at.query_params.update(FAST)
    fine(at.run())
    before = at.session_state["session"].run
    upload(at, f"{HOSTILE}.safetensors", content, key="own-lesson")
    assert [error.value for error in at.error] == [words(sentence, file=f"{SAFE}.safetensors")]
    assert experiment(at) == Experiment(points=100, particles=16, T=10)
    assert at.session_state["session"].run is before
    assert not at.session_state["session"].user_data


def _opening() -> None:
    """The dialog, open until it has done its work."""
    import streamlit as st

    from toydiff.ui import own, state

    state.experiment()
    state.current_run()
    if "own-opened" in st.session_state:
        own.say_what_was_opened()
    else:
        own.open_lesson()


def test_a_lesson_is_opened_in_the_dialog_and_the_page_says_so():
    content, chosen = a_lesson()
    at = AppTest.from_function(_opening, default_timeout=PATIENCE)
    upload(fine(at.run()), "lesson.safetensors", content, key="own-lesson")
    assert not at.error
    assert experiment(at) == chosen
    assert [success.value for success in at.success] == [words("own.opened_train", data="ring")]
    at.session_state["experiment"] = replace(chosen, dataset="moons")
    assert not fine(at.run()).success  # the session looks at something else by now


def test_the_page_says_what_it_would_keep():
    at = opened()
    label = words("own.holds_no_network", data=words("names.spiral"))
    assert label in [markdown.value for markdown in at.markdown]
    at = fine(at.switch_page("pages/train.py").run())
    fine(at.button(key="one").click().run())
    fine(at.switch_page("pages/own.py").run())
    assert words("own.holds", data=words("names.spiral"), steps="1") in [markdown.value for markdown in at.markdown]
    fine(at.button(key="own-save").click().run())
    assert [button.key for button in at.get("download_button")].count("own-save-save") == 1
