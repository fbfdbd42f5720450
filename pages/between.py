"""Lesson 8. Where a start noise leads: with DDIM it is the address of an image, and one can walk between two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, ParamSpec, TypeVar

import streamlit as st
import torch
from torch import Tensor

from toydiff.data import user_data
from toydiff.data.images import GAP_PHASES, Images, moon
from toydiff.diffusion import exact
from toydiff.diffusion.exact import Model
from toydiff.draw import between as drawn
from toydiff.draw import charts
from toydiff.draw.between import CHOICES_SHOWN, STRIP, WAY_PLACES, Interpolation, jumps, largest_step
from toydiff.draw.images import closest
from toydiff.draw.scene import Scene
from toydiff.experiments.image_experiment import ImageExperiment, usual_device
from toydiff.measures import moons
from toydiff.measures.moons import PHASE_TOLERANCE, WAXING, Moons, in_gap
from toydiff.server.live import ImageRun
from toydiff.server.trained_network import judge
from toydiff.text import words
from toydiff.ui import page, state
from toydiff.ui.controls import say_if_not_allowed
from toydiff.ui.export import film_with_export
from toydiff.ui.images import IMAGE_BUDGET, PER_NUMBER, enough_memory, load, pictures, say_if_slow, settings, train
from toydiff.ui.player import Chosen
from toydiff.ui.rendering import cached_in_session, cached_under, made
from toydiff.ui.runs import check
from toydiff.ui.still_images import still

BETWEEN_TRAIN_STEPS = 600  # that the button trains
COUNTED_STARTS = {"digits": 200}  # start noises whose images are counted, where there is something to count
MOONS = 100
SAME = 100  # runs from one start noise
JUDGE_TOLERANCE = 0.05  # of the judge's sureness: less is no difference worth a sentence
INVISIBLE_ERROR = 0.0001  # error of pixels that is too small to see
RUNS = 400  # all that a visit asks for, about: start noises, ends, both ways between them, dice
# numbers; of fewer, and if it is off by more, the length of noise is no typical one
MIN_DIMENSIONS, UNTYPICAL = (16, 0.15)

Given = ParamSpec("Given")
Made = TypeVar("Made")

page.begin("between")
experiment, images = settings()
run = state.current_image_run(experiment, images)
numbers = images.x[0].numel()
question, network = st.columns(2)
with question:
    page.say("between", "question", data=user_data.title(experiment.data), numbers=f"{numbers:,}")


# ---------------------------------------------------------------- who guesses the noise


class Predictor(NamedTuple):
    """Who guesses the noise on this page."""

    experiment: ImageExperiment
    images: Images
    model: Model
    steps: int  # of training; 0: the exact predictor

    @property
    def name(self) -> str:
        return words("page.network", steps=f"{self.steps:,}") if self.steps else words("page.exact")

    @property
    def moons(self) -> bool:
        """Whether the images are moons, so that one knows what lies between two of them."""
        return self.experiment.data.startswith("moon-phases-")


def choose_predictor(run: ImageRun) -> Predictor:
    """The network of lesson 7 if it has learned anything, the same one until the newest is asked for; else the
    exact predictor. With a sentence that says which, and a button that trains."""
    experiment, images = run.experiment, run.images
    if run.diverged_at is not None:
        st.error(words("images.diverged", step=f"{run.diverged_at + 1:,}", lr=f"{experiment.lr:g}"))
    elif run.step == 0:
        st.info(words("between.no_network", steps=f"{BETWEEN_TRAIN_STEPS:,}"))
        say_if_slow(experiment, images, usual_device())
        offer_training(run, words("reverse.train", steps=f"{BETWEEN_TRAIN_STEPS:,}"))
        check(RUNS * drawn.jumps(experiment) * images.x.numel() * PER_NUMBER, patience=IMAGE_BUDGET)
        return Predictor(experiment, images, exact_model(experiment), 0)
    old: tuple[tuple[ImageExperiment, int], object] | None = state.session().kept.get("between-network")
    asked = old[0][1] if old is not None and old[0][0] == experiment and run.running else run.step
    box = st.container(horizontal=True, vertical_alignment="center")
    with box:
        if run.running and st.button(words("images.newest"), key="between-newest", icon=":material/refresh:"):
            asked = run.step
    model, steps = cached_in_session("between-network", (experiment, asked), run.predictor)
    with box:
        st.markdown(words("between.network", steps=f"{steps:,}"), width="content")
        if not run.running and run.diverged_at is None:
            offer_training(run, words("between.more", steps=f"{BETWEEN_TRAIN_STEPS:,}"), "tertiary")
    if not run.running and run.diverged_at is None:
        say_if_slow(experiment, images, usual_device())
    return Predictor(experiment, images, model, steps)


def offer_training(run: ImageRun, label: str, look: Literal["primary", "tertiary"] = "primary") -> None:
    if st.button(label, type=look, key="between-train", disabled=not say_if_not_allowed()):
        train(run, BETWEEN_TRAIN_STEPS)
        st.rerun()


@st.cache_resource(max_entries=2, show_spinner=words("page.computing"))
def exact_model(experiment: ImageExperiment) -> Model:
    return exact.cloud(load(experiment.data, experiment.n, experiment.seed).x, experiment.noise_schedule())


def cached(
    who: Predictor,
    chosen: tuple[object, ...],
    make: Callable[Given, Made],
    *arguments: Given.args,
    **named: Given.kwargs,
) -> Made:
    """What `make` makes of its arguments, for what was chosen. With the exact predictor once for all sessions,
    with a network once for its session."""
    if who.steps == 0:
        return cached_under((make, who.experiment, chosen), make, *arguments, **named)
    key = (who.experiment, who.steps, *chosen)
    return cached_in_session(f"between-{make.__name__}", key, lambda: made(make, *arguments, **named))


with network, enough_memory(experiment):
    who = choose_predictor(run)


# ---------------------------------------------------------------- start noises, and two of them


def start_scene(who: Predictor) -> tuple[Scene, Tensor]:
    """`draw.between.starts`: many where they are counted."""
    n = MOONS if who.moons else COUNTED_STARTS.get(who.experiment.data, CHOICES_SHOWN)
    return cached(who, (), drawn.starts, who.experiment, who.images, who.model, who.name, n)


class Ends(NamedTuple):
    """Two start noises, (C, H, W), and what they were chosen by."""

    a: Tensor
    b: Tensor
    chosen: tuple[object, ...]
    off: float | None = None  # of noises found for two images: how far DDIM ends from those, root mean square


def choose_ends(who: Predictor, noises: Tensor, shown: Chosen) -> Ends:
    """Two start noises as they were chosen: of `noises` (n, C, H, W) by their numbers or by the ring in the film; or
    those of two images."""
    names = {"noise": words("between.noises"), "real": words("between.moons" if who.moons else "between.images")}
    usual = "real" if who.moons else "noise"
    label, key = words("between.ends"), f"between-ends-{usual}"
    kind = st.segmented_control(label, names, default=usual, required=True, key=key, format_func=names.__getitem__)
    if kind == "noise":
        return choose_noises(noises, shown)
    chosen: tuple[float, float] = GAP_PHASES if who.moons else choose_images(who.images)
    if who.moons:
        x = who.images.scaled(moon(torch.tensor(GAP_PHASES), who.images.shape[-1]))
        if not who.steps:  # which can only end at images of the data
            x = who.images.x[closest(x, who.images.x)[1]]
    else:
        x = who.images.x[torch.tensor(chosen)]
    (a, b), off = cached(who, chosen, drawn.start_of, who.experiment, who.model, x)
    return Ends(a, b, ("real", *chosen), off)


def choose_noises(noises: Tensor, shown: Chosen) -> Ends:
    numbers = []
    for column, name, usual in zip(st.columns(2), ("a", "b"), (1, 2), strict=True):
        with column:
            key = f"between-{name}"
            st.session_state.setdefault(key, usual)
            if st.button(words(f"between.take_{name}"), key=f"{key}-take", width="stretch"):
                if shown.followed is None:
                    st.toast(words("between.no_ring"), icon=":material/touch_app:")
                else:
                    st.session_state[key] = shown.followed + 1
            numbers.append(st.number_input(words(f"between.{name}"), 1, len(noises), key=key) or usual)
    a, b = (noises[number - 1] for number in numbers)
    return Ends(a, b, ("noise", *numbers))


def choose_images(images: Images) -> tuple[int, int]:
    """The places of two images of the data: the first of each class if there are classes, or by their numbers."""
    labels = images.labels
    places = []
    for column, name, usual in zip(st.columns(2), ("a", "b"), (3, 8), strict=True):
        with column:
            if labels is None or labels.is_floating_point():
                most = len(images.x)
                number = st.number_input(
                    words(f"between.{name}"), 1, most, min(usual, most), key=f"between-real-{name}"
                )
                places.append((number or 1) - 1)
                continue
            classes = labels.unique().tolist()
            label = st.selectbox(
                words(f"between.{name}"), classes, min(usual, len(classes) - 1), key=f"between-class-{name}"
            )
            places.append(int((labels == label).nonzero()[0, 0]))
    return places[0], places[1]


def shown_error(error: float) -> str:
    """The error of images that come back, for people."""
    return f"{error:.2g}" if error >= INVISIBLE_ERROR else words("between.less_than", least=INVISIBLE_ERROR)


def walk(who: Predictor, between: Ends) -> tuple[Interpolation, Scene]:
    """The way from one end to the other, and its film."""
    ends = between.a, between.b
    return cached(who, between.chosen, drawn.walked, who.experiment, who.images, who.model, who.name, *ends)


addresses, choice = st.columns(2)
with addresses:
    page.say("between", "starts", jumps=jumps(experiment))
    scene, samples = start_scene(who)
    name = f"toydiff-starts-{experiment.data}"
    shown = film_with_export(scene, key="starts", name=name, autoplay=True, offers=["guess"], trails=False, choose=True)
with choice:
    page.say("between", "ends")
    ends = choose_ends(who, scene.panels[0].trajectory.x[0], shown)
    way, scene = walk(who, ends)
    pictures(images, [(words("between.first"), way.of_arc[0]), (words("between.last"), way.of_arc[-1])], side=120)
    if ends.off is not None:
        page.say("between", "found", off=shown_error(ends.off))
        if not who.steps and experiment.data != "two-pixel":
            page.say("between", "exact-found")
    if ends.off is not None and who.moons and not who.steps:
        page.say("between", "exact-ends")


# ---------------------------------------------------------------- the way from one to the other


def show_rows(images: Images, rows: dict[str, Tensor]) -> None:
    """Rows of images (K, C, H, W), enlarged, each under its name."""
    for name, x in rows.items():
        st.caption(words(f"between.row_{name}"))
        still(drawn.row(images, x[STRIP]), words(f"between.row_{name}"), "stretch")


page.say("between", "way")
film_with_export(scene, key="between", name=f"toydiff-between-{experiment.data}", autoplay=True, trails=False)
rows = {"arc": way.of_arc, "straight": way.of_straight, "blend": way.blend}
waxing = who.moons and ends.off is not None
if waxing:
    rows["true"] = images.scaled(moon(GAP_PHASES[0] + way.share * (GAP_PHASES[1] - GAP_PHASES[0]), images.shape[-1]))
show_rows(images, rows)

lengths = {name: x.flatten(1).norm(dim=1) for name, x in (("arc", way.arc), ("straight", way.straight))}
figures = {
    "predictor": who.name,
    "numbers": f"{numbers:,}",
    "typical": f"{math.sqrt(numbers):.1f}",
    "a": f"{lengths['arc'][0]:.1f}",
    "b": f"{lengths['arc'][-1]:.1f}",
    "angle": f"{math.degrees(way.angle):.0f}",
    **{name: f"{length[WAY_PLACES // 2]:.1f}" for name, length in lengths.items()},
}
untypical = max(abs(length / math.sqrt(numbers) - 1) for length in lengths["arc"][[0, -1]].tolist())
if numbers < MIN_DIMENSIONS:
    page.say("between", "lengths-few", **figures)
elif ends.off is None or untypical < UNTYPICAL:
    page.say("between", "lengths", **figures)
else:
    page.say("between", "not-typical", **figures)
page.say("between", "slerp")
page.say("between", "steps", largest=f"{largest_step(way.of_arc):.0%}", even=f"{1 / (WAY_PLACES - 1):.1%}")
if not who.steps:
    page.say("between", "exact", kinds=len(closest(way.of_arc, images.x)[1].unique()))


# ---------------------------------------------------------------- what lies on the way


def judge_way(who: Predictor, way: Interpolation) -> tuple[str, dict[str, str]]:
    """How sure the judge is, on average, of the digits on the arc, on the line, and where one image fades into the
    other: of the middle half of the way, where they differ most. With the section that says what that means."""
    rows = {"arc": way.of_arc, "straight": way.of_straight, "blend": way.blend}
    middle = (way.share - 0.5).abs() <= 0.25
    shares = {name: judge().share(who.images, x[middle]) for name, x in rows.items()}
    if who.steps == 0:
        section = "sure-exact"
    else:
        section = "sure-alike" if shares["straight"] >= shares["arc"] - JUDGE_TOLERANCE else "sure-arc"
    return section, {name: f"{share:.0%}" for name, share in shares.items()}


def offer_gap(who: Predictor) -> None:
    """A button that leaves the phases between half and full out of the data, or takes them back."""
    name = who.experiment.data
    other = name.removesuffix("-gap") if name.endswith("-gap") else f"{name}-gap"
    label = words("between.no_gap" if name.endswith("-gap") else "between.gap")
    st.button(label, key="between-gap", on_click=lambda: state.change_images(data=other))


@st.cache_resource(max_entries=2, show_spinner=words("page.computing"))
def all_moons(side: int) -> Moons:
    return Moons(side)


def measure_moons(who: Predictor, way: Interpolation, samples: Tensor) -> tuple[str, dict[str, str]]:
    """Two charts of the moons on the way. Returns `moons.verdict` and its numbers."""
    sky = all_moons(who.images.shape[-1])

    def nearest(x: Tensor) -> tuple[Tensor, Tensor]:
        phase, distance = sky.nearest(x * who.images.scale + who.images.mean)
        return phase, distance / sky.floor

    (phase, off), (_, faded), (others, usual) = nearest(way.of_arc), nearest(way.blend), nearest(samples)
    curves = {words("between.on_arc"): off, words("between.faded"): faded}
    figures = {
        "phase": drawn.phases(way.share, phase, words("between.phase_title")),
        "distance": drawn.distances(way.share, curves, words("between.distance_title")),
    }
    for column, (name, figure) in zip(st.columns(2), figures.items(), strict=True):
        column.plotly_chart(figure, key=f"between-{name}", config=charts.STILL, alt=words(f"between.{name}_alt"))
    low, high = GAP_PHASES[0] + PHASE_TOLERANCE, GAP_PHASES[1] - PHASE_TOLERANCE
    return moons.verdict(phase, off, faded), {
        "places": str(len(phase)),
        "inside": str(int(in_gap(phase).sum())),
        "even": f"{WAXING * len(phase):.0f}",
        "low": f"{low:.2f}",
        "high": f"{high:.2f}",
        "off": f"{off.max():.1f}",
        "faded": f"{faded.max():.1f}",
        "samples": str(len(samples)),
        "sampled": str(int(in_gap(others).sum())),
        "fair": f"{(high - low) * len(samples):.0f}",
        "usual": f"{usual.mean():.1f}",
    }


if experiment.data == "digits":
    figures |= {"floor": f"{judge().floor:.0%}", "accuracy": f"{judge().accuracy:.1%}"}
    verdict, found = judge_way(who, way)
    page.say("between", "sure", **figures | found)
    if ends.off is None:
        page.say("between", verdict, **figures)
if who.moons:
    page.say("between", "moons")
    page.say("between", "with-gap" if experiment.data.endswith("-gap") else "with-all")
    offer_gap(who)
if waxing:
    verdict, found = measure_moons(who, way, samples)
    page.say("between", verdict, **figures | found)
    page.say("between", "moon-samples", **found)


# ---------------------------------------------------------------- which digits noises become


def show_classes(who: Predictor, samples: Tensor) -> None:
    """Which digits random start noises become, beside those of the data."""
    labels = who.images.labels
    assert labels is not None
    shares = {
        words("between.random", n=len(samples)): class_shares(who, samples),
        words("between.data"): shares_of(labels),
    }
    show_bars(shares, "classes")


def throw_dice(who: Predictor, between: Ends) -> tuple[Scene, dict[str, Tensor]]:
    """Runs from the first of two ends: the film, and where they end."""
    chosen = between.chosen[:2]
    return cached(who, chosen, drawn.dice, who.experiment, who.images, who.model, who.name, between.a, SAME)


def show_dice(who: Predictor, ends: dict[str, Tensor]) -> dict[str, str]:
    """Which digits the runs from one noise become; and their numbers."""
    shares = {words(f"names.{name}"): class_shares(who, x) for name, x in ends.items()}
    show_bars(shares, "dice")
    ddpm, ddim = shares.values()
    return {
        "runs": str(SAME),
        "digit": str(int(ddim.argmax())),
        "often": f"{ddpm[ddim.argmax()]:.0%}",
        "kinds": str(int((ddpm > 0).sum())),
        "spread": f"{(ends['ddim'] - ends['ddim'][0]).abs().max():.2g}",
    }


def show_bars(shares: dict[str, Tensor], about: str) -> None:
    alt = "; ".join(f"{name}: {', '.join(f'{one:.0%}' for one in share)}" for name, share in shares.items())
    figure = drawn.bars(shares, words(f"between.{about}_title"))
    st.plotly_chart(figure, key=f"between-{about}-chart", config=charts.STILL, alt=alt)


def class_shares(who: Predictor, x: Tensor) -> Tensor:
    """(10,): the share of images that the judge takes for each digit."""
    return shares_of(judge().classes(who.images, x).argmax(1))


def shares_of(labels: Tensor) -> Tensor:
    return torch.bincount(labels, minlength=10).double() / len(labels)


if experiment.data == "digits":
    page.say("between", "classes", **figures)
    show_classes(who, samples)
    page.say("between", "dice", runs=SAME)
    scene, reached = throw_dice(who, ends)
    film_with_export(scene, key="dice", name="toydiff-dice", trails=False)
    page.say("between", "decided", **show_dice(who, reached))
