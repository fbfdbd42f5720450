"""The page of images: it trains, pauses and plays; its numbers are those of the runs; whatever a link says, it
opens."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from tests.test_pages import film, fine, open_page, press, says, ticks
from tests.test_player import Film, unpacked
from tests.waiting import PATIENCE, wait_for
from toydiff.data import user_data
from toydiff.data.images import Images, digits
from toydiff.diffusion import exact
from toydiff.draw.images import (
    bridge_scene,
    closest,
    differences,
    digit_counts,
    distances,
    forward_scene,
    nearest_scene,
    variance,
    ways_scene,
)
from toydiff.draw.scenes import THREE_WAYS
from toydiff.experiments import checkpoint
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.measures.judge import LEARNED, Judge
from toydiff.server.live import ImageRun, Run
from toydiff.server.snapshots import Failed
from toydiff.server.trained_network import judge
from toydiff.text import words
from toydiff.ui import images as shared_images
from toydiff.ui import pictures, state

SMALL = ImageExperiment(T=10, batch=8, n=60)
LINK = {f"image_{name}": str(getattr(SMALL, name)) for name in ("T", "batch", "n")} | {"T": "10", "points": "100"}


def run_of(at: AppTest) -> ImageRun:
    return at.session_state["session"].image_runs[at.session_state["image_experiment"]]


def films(at: AppTest) -> list[Film]:
    """What the players of the lesson got."""
    return [unpacked(one.proto.bytes) for one in at.get("bidi_component") if one.key.startswith("images")]


def opened(**params: str) -> AppTest:
    return fine(open_page("images", **LINK | params))


# ---------------------------------------------------------------- the judge


def test_the_judge_is_as_sure_of_held_out_digits_as_it_is_of_real_ones_and_less_of_noise():
    judge, real = Judge(), digits()
    assert judge.accuracy > 0.97
    assert judge.share(real, real.x[LEARNED:]) == pytest.approx(1)
    assert 0.1 < judge.floor < 0.4
    other = digits(500, seed=3)  # in another scale
    assert judge.share(other, other.scaled(real.x * real.scale + real.mean)) == pytest.approx(
        judge.share(real, real.x), abs=0.01
    )


def test_what_the_judge_says_of_many_images_is_what_its_trees_vote():
    judge, real = Judge(), digits()
    held_out, labels = real.x[LEARNED:], real.labels[LEARNED:]
    votes = judge.classes(real, held_out)
    assert votes.shape == (len(held_out), 10)
    assert votes.sum(1).tolist() == pytest.approx([1] * len(held_out))
    assert (votes.argmax(1) == labels).double().mean().item() == pytest.approx(judge.accuracy)
    one_by_one = np.mean([tree.predict_proba(real.pixels(held_out[:3]).reshape(3, -1)) for tree in judge._forest], 0)
    assert votes[:3].numpy() == pytest.approx(one_by_one)
    share, error, counts = judge.verdict(real, held_out)
    sure = [max(row) for row in votes.tolist()]
    assert (share, error) == pytest.approx((1, np.std(sure, ddof=1) / len(sure) ** 0.5 / np.mean(sure)))
    assert counts == tuple(np.bincount(votes.argmax(1), minlength=10))
    one_kind = judge.verdict(real, held_out[labels == 7])
    assert sum(one_kind.counts) == (labels == 7).sum()
    assert one_kind.counts[7] == max(one_kind.counts)


# ---------------------------------------------------------------- the scenes


def test_variance_and_distances_against_numbers_worked_out_by_hand():
    data = torch.tensor([0.0, 4.0]).reshape(2, 1, 1, 1).expand(2, 1, 1, 2)
    assert variance(data / 2) / variance(data) == pytest.approx(0.25)
    assert distances(data, data.mean(0)).tolist() == pytest.approx([8**0.5] * 2)
    distance, nearest = closest(data + 1, data)
    assert distance.tolist() == pytest.approx([2**0.5] * 2)
    assert nearest.tolist() == [0, 1]
    assert closest(data, data, rank=2)[1].tolist() == [1, 0]


def test_where_images_differ_is_shown_in_one_scale():
    one = torch.tensor([[0.0, 1.0], [2.0, 1.0]]).reshape(2, 1, 1, 2)  # the first pixel differs by 1, the second by 0
    maps = differences({"one": one, "half": one / 2, "alike": one[:1].expand(5, 1, 1, 2)})
    assert {name: picture.tolist() for name, picture in maps.items()} == {
        "one": [[255, 0]],
        "half": [[128, 0]],
        "alike": [[0, 0]],
    }
    colours = differences({"colour": torch.stack([torch.zeros(3, 1, 1), torch.tensor([2.0, 0, 0])[:, None, None]])})
    assert colours["colour"].tolist() == [[255]]


def test_the_chart_of_digits_has_their_counts():
    figure = digit_counts((3, 0, 5), "title")
    assert list(figure.data[0].y) == [3, 0, 5]
    assert list(figure.data[0].x) == ["0", "1", "2"]
    assert figure.layout.shapes[0].y0 == pytest.approx(8 / 3)
    assert figure.layout.annotations[0].text == words("images.evenly")


def test_a_particle_is_the_two_pixels_of_its_image():
    experiment = replace(SMALL, data="two-pixel")
    images = experiment.images()
    ways, _ = ways_scene(experiment, images, exact.cloud(images.x, experiment.noise_schedule()), "exact")
    run = ways.panels[THREE_WAYS.index("mean-only")].trajectory
    scene = bridge_scene(experiment, images, run, "mean-only", "exact")
    pictures, plane = scene.panels
    assert pictures.title == words("names.mean-only")
    assert pictures.trajectory.x.equal(run.x)
    assert plane.trajectory.x.equal(run.x[:, :, 0, 0])
    assert plane.trajectory.x0.equal(run.x0[:, :, 0, 0])
    assert scene.framed
    left_and_right = scene.shown(run.end)[:, 0, :, 0].astype(float)  # brightness, 0 ... 255
    brightness = (plane.trajectory.end * images.scale + images.mean).clamp(0, 1) * 255
    assert left_and_right == pytest.approx(brightness.numpy(), abs=0.51)


def test_the_exact_predictor_gives_training_images_back_and_mean_only_one_picture():
    experiment = replace(SMALL, T=100)
    images = experiment.images()
    scene, variance = ways_scene(experiment, images, exact.cloud(images.x, experiment.noise_schedule()), "exact")
    assert scene.ticks == list(range(100, -1, -2))
    first = scene.panels[0].trajectory.x[0]
    assert all(panel.trajectory.x[0].equal(first) for panel in scene.panels)
    assert variance["mean-only"] < 0.05
    assert min(variance["ddpm"], variance["ddim"]) > 0.5
    beside, distance = nearest_scene(experiment, images, scene.panels[0].trajectory, "exact")
    assert distance.mean() < 0.3 * closest(images.x, images.x, rank=2)[0].mean()
    still = beside.panels[1].still
    assert distances(still, scene.panels[0].trajectory.end).tolist() == pytest.approx(distance.tolist(), abs=1e-2)
    assert all((one == images.x).flatten(1).all(1).any() for one in still)


def test_images_dissolve_into_noise():
    images = SMALL.images()
    scene = forward_scene(SMALL, images)
    assert scene.ticks == list(range(11))
    for panel in scene.panels:
        run = panel.trajectory
        assert (run.x[0][:, None] == images.x).flatten(2).all(2).any(1).all()
        assert run.end.std().item() == pytest.approx(1, abs=0.1)


# ---------------------------------------------------------------- the training


def test_a_run_on_images_trains_as_the_trainer_does_and_one_seed_is_one_film():
    images = SMALL.images()
    runs = [ImageRun(SMALL, images) for _ in range(2)]
    for run in runs:
        run.advance(2)
        run.advance(1, picture=False)
    trainer = SMALL.trainer(images, runs[0].device)
    trainer.advance(3)
    assert runs[0].snapshot().losses.equal(trainer.losses)
    first, second = (run.snapshot() for run in runs)
    assert [point.step for point in first.evaluations] == [0, 2]  # none was asked for at 3
    assert first.trajectory.x.equal(second.trajectory.x)
    assert first.trajectory.x.shape == (2, 36, *images.shape)
    assert all(0.1 < point.ratio < 1.1 for point in first.evaluations)


def test_points_and_images_train_in_turns():
    points, pictures = Run(Experiment(points=50, particles=4, T=10)), ImageRun(SMALL, SMALL.images())
    points.start()
    pictures.start()
    wait_for(lambda: points.step > 0 and pictures.step > 0)
    points.pause()
    pictures.pause()


# ---------------------------------------------------------------- the page


def test_before_the_training_the_exact_predictor_is_shown():
    at = opened()
    assert at.session_state["image_experiment"] == SMALL
    assert run_of(at).step == 0
    assert [info.value for info in at.info] == [words("images.no_network", steps="1,500")]
    for section in ("question", "numbers", "by-heart", "copies", "exact", "judge"):
        assert says(at, "images", section), section
    assert says(at, "images", "one") != says(at, "images", "several")
    assert len(films(at)) == 4


@pytest.mark.slow
def test_start_pause_reset():
    at = opened()
    fine(press(at, "images-go"))
    run = run_of(at)
    assert run.running
    wait_for(lambda: run.step > 2)
    fine(press(at, "images-go"))
    assert not run.running
    assert ticks(at)[-1] == run.step
    assert not at.info
    assert not says(at, "images", "exact")
    fine(press(at, "images-reset"))
    assert run_of(at) is not run
    assert run_of(at).step == 0


def test_one_step_and_the_button_that_trains():
    at = opened()
    fine(press(at, "images-one"))
    assert run_of(at).step == 1
    assert ticks(at) == [0, 1]
    fine(press(at, "images-reset"))
    assert not at.button(key="images-train-now").disabled
    assert at.button(key="images-reset").disabled


def test_training_now_makes_that_many_steps(monkeypatch):
    run = ImageRun(SMALL, SMALL.images())
    monkeypatch.setattr(state, "only", lambda training: training)
    shared_images.train(run, 13)
    assert run.step == 13
    assert [point.step for point in run.snapshot().evaluations] == [0, 13]


@pytest.mark.slow
@pytest.mark.parametrize("data", ["moon-phases-16", "two-pixel"])
def test_other_images(data):
    at = opened()
    fine(at.selectbox(key="control-image-data").set_value(data).run())
    assert at.session_state["image_experiment"].data == data
    assert at.query_params["image_data"] == data
    assert film(at).header["panels"]
    assert says(at, "images", "bridge") == (data == "two-pixel")
    assert says(at, "images", "copies") == (data != "two-pixel")  # whose points lie dense
    assert not says(at, "images", "judge")
    fine(press(at, "images-one"))


@pytest.mark.slow
def test_every_set_keeps_its_own_network():
    at = fine(press(opened(), "images-one"))
    run = run_of(at)
    fine(at.number_input(key="control-image-seed").set_value(5).run())
    assert run_of(at).step == 0
    fine(at.number_input(key="control-image-seed").set_value(0).run())
    assert run_of(at) is run


def test_what_a_link_got_wrong_is_named():
    at = opened(image_data="cats", image_T="-3")
    assert len(at.warning) == 2
    assert at.session_state["image_experiment"] == ImageExperiment(batch=8, n=60)
    assert "image_data" not in at.query_params


def test_images_that_cannot_be_had_are_explained_and_the_digits_stay(monkeypatch):
    def nothing(*_, **__):
        raise OSError

    monkeypatch.setattr("sklearn.datasets.fetch_openml", nothing)
    at = opened(image_data="mnist")
    assert [error.value for error in at.error] == [words("pictures.no_network", name="MNIST")]
    assert at.session_state["image_experiment"].data == "digits"
    assert at.selectbox(key="control-image-data").value == "digits"
    assert not fine(at.run()).error


def test_an_exploding_loss_is_explained():
    at = opened(image_lr="1000")
    run = run_of(at)
    run.advance(200)
    assert run.diverged_at is not None
    fine(at.run())
    assert words("images.diverged", step=f"{run.diverged_at + 1:,}", lr="1000") in [e.value for e in at.error]
    assert at.button(key="images-go").disabled


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("field", "kind", "value"),
    [
        ("network", "selectbox", "dit"),
        ("size", "selectbox", "medium"),
        ("lr", "number_input", 1e-3),
        ("batch", "number_input", 16),
        ("seed", "number_input", 9),
    ],
)
def test_each_setting_is_a_control_and_travels_with_the_link(field, kind, value):
    at = opened()
    widget = getattr(at, kind)(key=f"control-image-{field}")
    assert widget.value == getattr(SMALL, field)
    fine(widget.set_value(value).run())
    assert at.session_state["image_experiment"] == replace(SMALL, **{field: value})
    assert at.query_params[f"image_{field}"] == str(value)
    assert run_of(at).experiment == replace(SMALL, **{field: value})
    again = opened(**{f"image_{field}": str(value)})
    assert getattr(again, kind)(key=f"control-image-{field}").value == value


def test_an_emptied_number_box_changes_nothing():
    at = opened()
    fine(at.number_input(key="control-image-lr").set_value(None).run())
    assert at.session_state["image_experiment"] == SMALL
    assert at.number_input(key="control-image-lr").value == SMALL.lr


@pytest.mark.slow
def test_other_images_bring_as_many_as_there_usually_are():
    at = opened()
    fine(at.selectbox(key="control-image-data").set_value("moon-phases-32").run())
    assert at.session_state["image_experiment"] == replace(SMALL, data="moon-phases-32", n=2000)


# ---------------------------------------------------------------- what needs a GPU


def slow_page(kind: str, **fields: object) -> AppTest:
    def page(kind: str, fields: dict[str, object]) -> None:
        import torch

        from toydiff.experiments.image_experiment import ImageExperiment
        from toydiff.ui.images import load, say_if_slow

        experiment = ImageExperiment(**fields)
        say_if_slow(experiment, load(experiment.data, experiment.n, experiment.seed), torch.device(kind))

    return fine(AppTest.from_function(page, args=(kind, fields)).run(timeout=PATIENCE))


def test_what_takes_long_on_a_cpu_is_said_and_what_does_not_is_not():
    assert not slow_page("cpu").caption
    assert not slow_page("cuda", data="moon-phases-32", size="large", n=20).caption
    medium, large = slow_page("cpu", size="medium"), slow_page("cpu", data="moon-phases-32", size="large", n=20)
    assert [caption.value for caption in medium.caption] == [words("images.slow", times="4")]
    assert large.caption[0].value.startswith(words("images.for_a_gpu", times="?").split("?")[0])
    assert large.caption[0].value.endswith(words("images.for_a_gpu", times="?").split("?")[1])


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "medium"])
def test_too_little_memory_is_a_sentence_and_the_run_is_kept(monkeypatch, size):
    at = fine(press(opened(image_size=size), "images-one"))
    run = run_of(at)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(ImageExperiment, "frames", full)
    fine(press(at, "images-measure"))
    monkeypatch.undo()
    advice = words("images.smaller_batch", batch=SMALL.batch // 2) if size == "small" else words("images.smaller")
    assert [error.value for error in at.error] == [words("images.no_memory", advice=advice)]
    assert not fine(at.run()).error
    assert run_of(at) is run
    assert run.step == 1


@pytest.mark.parametrize("page", ["images", "between"])
def test_a_training_that_fails_while_the_page_waits_is_a_sentence(monkeypatch, page):
    def fails(*_: object) -> None:
        raise Failed("There is no room.")

    monkeypatch.setattr(ImageRun, "advance", fails)
    at = fine(open_page(page, **LINK))
    fine(press(at, f"{page}-train-now" if page == "images" else "between-train"))
    assert [toast.value for toast in at.toast] == ["There is no room."]


# ---------------------------------------------------------------- many samples, measured


@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", "two-pixel"])
def test_measured_numbers_are_those_of_the_samples(data):
    at = fine(press(opened(image_data=data), "images-one"))
    assert not [metric for metric in at.metric if "variance" in metric.label]
    fine(press(at, "images-measure"))
    experiment, run = replace(SMALL, data=data), run_of(at)
    images, (model, steps) = run.images, run.predictor()
    _, found = at.session_state["session"].kept["images-measured"]
    start = experiment.start(found.n, images.shape)
    ends = {way: experiment.reverse(model, way, start).end for way in THREE_WAYS}
    metrics = {metric.label: metric.value for metric in at.metric}
    for way, x in ends.items():
        assert metrics[words("images.share", way=words(f"names.{way}"))] == f"{variance(x) / variance(images.x):.1%}"
    assert found.steps == steps == 1
    if data == "digits":
        assert found.verdict == judge().verdict(images, ends["ddpm"])
    else:
        assert found.verdict is None
    fine(at.number_input(key="control-image-seed").set_value(3).run())  # another network: these are not its numbers
    assert not [metric for metric in at.metric if "variance" in metric.label]


def test_the_exact_predictor_can_be_measured_too():
    at = fine(press(opened(), "images-measure"))
    found = at.session_state["session"].kept["images-measured"][1]
    assert found.steps == 0
    assert found.verdict.share > 0.9
    assert found.variance["mean-only"] < found.variance["ddim"]


# ---------------------------------------------------------------- two pixels


def test_the_bridge_follows_one_particle_on_the_way_that_is_chosen():
    at = opened(image_data="two-pixel")
    assert says(at, "images", "particle")
    assert len(films(at)) == 5
    first = films(at)[2]
    assert [panel["title"] for panel in first.header["panels"]] == [words("names.ddpm"), words("images.plane")]
    assert first.header["options"]["follow"] == 0
    fine(at.radio(key="images-way").set_value("mean-only").run())
    second = films(at)[2]
    assert [panel["title"] for panel in second.header["panels"]] == [words("names.mean-only"), words("images.plane")]
    assert second.header["hash"] != first.header["hash"]


# ---------------------------------------------------------------- own pictures


def png(shade: int, side: int = 20) -> bytes:
    """A picture whose left half has this shade."""
    pixels = np.zeros((side, side), np.uint8)
    pixels[:, : side // 2] = shade
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = {f"{shade}.png": png(shade) for shade in (50, 100, 150, 200, 250)}


def a_page(what: str) -> AppTest:
    """One of the dialogs, open until it has done its work, in a session that shows the digits."""

    def page(what: str) -> None:
        import streamlit as st

        from toydiff.ui import pictures, state

        before = st.session_state.get("image_experiment")
        state.experiment()
        if before in (None, st.session_state.setdefault("first", st.session_state.image_experiment)):
            getattr(pictures, what)()

    at = AppTest.from_function(page, args=(what,), default_timeout=PATIENCE)
    at.query_params.update(LINK)
    return fine(at.run())


def uploaded(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    at.file_uploader[0].set_value([(name, content, "") for name, content in files])
    return fine(at.run())


@pytest.mark.slow
def test_own_pictures_are_shown_before_they_are_used_and_then_are_data_like_any_other():
    at = a_page("own_pictures")
    limits = at.markdown[0].value
    assert all(number in limits for number in ("5,000", "25 million", "200 MB"))
    broken = {"notes.txt": b"hello", "broken.png": b"\x89PNG nothing", "a*b<i>.gif": b"GIF8"}
    uploaded(at, ("My moons.zip", zipped(GOOD | broken)))
    assert words("images.found", n="5", shown=5) in [markdown.value for markdown in at.markdown]
    assert len(at.get("image")) == 5
    listed = "\n".join(text.value for text in at.text).splitlines()
    assert listed == [
        f"a∗b‹i›.gif: {words('pictures.broken')}",
        f"broken.png: {words('pictures.broken')}",
        f"notes.txt: {words('pictures.kind')}",
    ]
    assert at.session_state["image_experiment"] == SMALL  # not before the button is pressed

    fine(at.radio(key="images-side").set_value(8).run())
    fine(at.toggle(key="images-colour").set_value(True).run())
    fine(press(at, "images-use"))
    experiment = at.session_state["image_experiment"]
    assert user_data.title(experiment.data) == "My moons"
    assert experiment == replace(SMALL, data=experiment.data, n=5)
    images = experiment.images()
    assert images.x.shape == (5, 3, 8, 8)
    assert at.query_params["image_data"] == experiment.data
    at = opened(image_data=experiment.data, image_n="5")  # as long as somebody holds them, a link brings them along
    assert film(at).header["panels"][0]["shape"][1:] == [8, 8, 3]
    fine(press(at, "images-one"))


def test_single_files_and_twice_the_same_name():
    at = uploaded(a_page("own_pictures"), *GOOD.items(), ("50.png", png(20)))
    assert words("images.found", n="6", shown=6) in [markdown.value for markdown in at.markdown]
    fine(press(at, "images-use"))
    assert user_data.title(at.session_state["image_experiment"].data) == words("images.own")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([("a.zip", b"no zip at all")], words("pictures.not_a_zip")),
        ([("a.zip", zipped(GOOD)), ("b.png", png(9))], words("images.zip_alone")),
        ([("a.png", png(9)), ("b.png", png(9))], ""),
        ([("a.png", png(9))], words("pictures.few", count=1, files=1, least=2)),
        ([("a.png", png(0)), ("b.png", png(0))], words("pictures.flat")),
    ],
    ids=["no zip", "zip and pictures", "fine", "one", "black"],
)
def test_files_that_cannot_be_used_are_explained_and_nothing_changes(files, sentence):
    at = uploaded(a_page("own_pictures"), *files)
    assert [error.value for error in at.error] == ([sentence] if sentence else [])
    assert [button.key for button in at.button] == ([] if sentence else ["images-use"])
    assert at.session_state["image_experiment"] == SMALL


def test_of_very_many_bad_files_the_first_ones_are_named():
    bad = {f"{i:03}.txt": b"" for i in range(pictures.LISTED + 7)}
    at = uploaded(a_page("own_pictures"), ("a.zip", zipped(GOOD | bad)))
    listed = at.text[0].value.splitlines()
    assert len(listed) == pictures.LISTED + 1
    assert listed[0].startswith("000.txt")
    assert listed[-1] == words("images.more_skipped", n="7")


# ---------------------------------------------------------------- networks in files


def a_file(experiment: ImageExperiment = SMALL, steps: int = 3) -> bytes:
    run = ImageRun(experiment, experiment.images())
    run.advance(steps)
    return run.packed()


@pytest.mark.slow
def test_a_kept_network_is_put_in_place_with_its_settings_and_goes_on():
    experiment = replace(SMALL, network="dit", lr=1e-3, seed=4)
    run = ImageRun(experiment, experiment.images())
    run.advance(3)
    at = uploaded(a_page("open_network"), ("kept.safetensors", run.packed()))
    assert not at.error
    assert at.session_state["image_experiment"] == experiment
    assert at.query_params["image_network"] == "dit"
    opened = run_of(at)
    assert opened.step == 3
    assert opened.snapshot().losses.equal(run.snapshot().losses)
    for both in (run, opened):
        both.advance(2)
    assert opened.snapshot().losses.equal(run.snapshot().losses)
    assert opened.snapshot().trajectory.end.equal(run.snapshot().trajectory.end)


def test_the_page_keeps_the_network_that_it_shows():
    at = fine(press(opened(), "images-one"))
    at = fine(press(at, "images-keep"))
    content = run_of(at).packed()
    label = words("export.save_file", kind="SAFETENSORS", size=f"{len(content) / 1e6:.1f}")
    assert [button.proto.label for button in at.sidebar.get("download_button")] == [label]
    found = checkpoint.unpack(content, "a")
    assert found.experiment == SMALL
    assert found.state["step"] == 1


def test_a_network_of_own_pictures_comes_with_them():
    rows = torch.linspace(0, 1, 4 * 64).reshape(4, 1, 8, 8)
    mine = user_data.keep("Mine", Images.standardized("pictures", rows))
    content = a_file(replace(SMALL, data=mine.key, n=4))
    key = mine.key
    del mine
    assert key not in user_data._held  # no object holds them any more
    at = uploaded(a_page("open_network"), ("kept.safetensors", content))
    assert not at.error
    experiment = at.session_state["image_experiment"]
    assert experiment == replace(SMALL, data=key, n=4)
    assert user_data.title(key) == "Mine"
    assert run_of(at).step == 3


def changed(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda: b"", "cli.foreign"),
        (lambda: b"not a network", "cli.foreign"),
        (lambda: a_file()[:-100], "cli.foreign"),
        (lambda: changed(a_file()), "cli.damaged"),
        (lambda: checkpoint.pack(Experiment(points=50).trainer(), Experiment(points=50)), "images.of_points"),
    ],
    ids=["empty", "foreign", "cut off", "damaged", "points"],
)
def test_files_without_a_network_are_explained_and_nothing_changes(content, sentence):
    at = uploaded(a_page("open_network"), ("some*thing.safetensors", content()))
    assert [error.value for error in at.error] == [words(sentence, file="some∗thing.safetensors")]
    assert at.session_state["image_experiment"] == SMALL
    assert "session" not in at.session_state or not at.session_state["session"].image_runs


def test_a_network_for_images_of_another_shape_is_refused(monkeypatch):
    other = Images.standardized("digits", torch.rand(60, 1, 16, 16))
    content = a_file()
    monkeypatch.setattr(pictures, "load", lambda *_: other)
    at = uploaded(a_page("open_network"), ("a.safetensors", content))
    sentence = words("cli.other_shape", shape="1 × 8 × 8", other="1 × 16 × 16")
    assert [error.value for error in at.error] == [sentence]
    assert at.session_state["image_experiment"] == SMALL
