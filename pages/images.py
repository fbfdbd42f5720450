"""Lesson 7. A point is an image: the same loop, the same three ways back; only the shape is another one."""

import streamlit as st

from toydiff.data import user_data
from toydiff.draw.images import distances
from toydiff.experiments.image_experiment import usual_device
from toydiff.server.live import JUDGED_IMAGES
from toydiff.server.trained_network import judge
from toydiff.text import words
from toydiff.ui import images as lesson
from toydiff.ui import page, pictures, state
from toydiff.ui.controls import training_buttons
from toydiff.ui.export import film_with_export

IMAGE_TRAIN_STEPS = 1500  # that the button trains: a minute or two on a CPU
ONE_PICTURE_VARIANCE = 0.1  # of the data's variance: below it, all samples are one picture

page.begin("images")
experiment, images = lesson.settings()
values = {
    "data": user_data.title(experiment.data),
    "n": f"{len(images.x):,}",
    "numbers": f"{images.x[0].numel():,}",
    "shape": " × ".join(str(size) for size in images.shape),
    "T": experiment.T,
}
page.say("images", "question", **values)

lesson.say_if_slow(experiment, images, usual_device())
with st.spinner(words("page.computing")):
    run = state.current_image_run(experiment, images)
now = run.snapshot()
training_buttons(
    lambda: state.image_runs().get(experiment), now, lambda: state.fresh_image_run(experiment, images), key="images-"
)
pictures.offer(run)
st.fragment(lesson.watch, run_every=state.every(now))(run, now)
page.say("images", "what", network=lesson.about(experiment), **values)
if experiment.data == "digits":
    floor, accuracy = f"{judge().floor:.0%}", f"{judge().accuracy:.1%}"
    page.say("images", "judge", floor=floor, accuracy=accuracy, samples=JUDGED_IMAGES)
if experiment.data == "two-pixel":
    page.say("images", "bridge")

page.say("images", "reverse")
if now.step == 0:
    st.info(words("images.no_network", steps=f"{IMAGE_TRAIN_STEPS:,}"))
    train, may = words("reverse.train", steps=f"{IMAGE_TRAIN_STEPS:,}"), state.may_train()
    if st.button(train, type="primary", key="images-train-now", disabled=not may):
        lesson.train(run, IMAGE_TRAIN_STEPS)
        st.rerun()
with lesson.enough_memory(experiment):
    scene, variance, steps = lesson.ways(run)
film_with_export(scene, key="images", name=f"toydiff-{experiment.data}", autoplay=True, offers=["guess"], trails=False)

predictor = words("page.network", steps=f"{steps:,}") if steps else words("page.exact")
if experiment.data == "two-pixel":
    page.say("images", "particle")
    lesson.bridge(experiment, images, scene, predictor)

mean = images.x.mean(0)
blur = scene.panels[1].trajectory.end
usual, other = lesson.usual_distances(experiment.data, experiment.n, experiment.seed)
figures = {
    "predictor": predictor,
    "ddpm": f"{variance['ddpm']:.0%}",
    "mean_only": f"{variance['mean-only']:.1%}",
    "ddim": f"{variance['ddim']:.0%}",
    "away": f"{distances(blur, mean).mean():.1f}",
    "usual": f"{usual:.1f}",
    "other": f"{other:.2f}",
    "left": f"{experiment.noise_schedule().signal_left:.4f}",
}
page.say("images", "numbers", **figures)
page.say("images", "one" if variance["mean-only"] < ONE_PICTURE_VARIANCE else "several", **figures)
lesson.pictures(images, [(words("images.mean"), mean), (words("images.first"), blur[0])])
page.say("images", "why")

page.say("images", "spread", samples=len(blur))
lesson.spread(images, scene, variance)
page.say("images", "measure")
lesson.measured(run)

beside, distance = lesson.nearest(experiment, images, scene, predictor)
page.say("images", "nearest")
film_with_export(beside, key="images-nearest", name=f"toydiff-nearest-{experiment.data}", trails=False)
page.say("images", "by-heart", distance=f"{distance.mean():.2f}", **figures)
if other >= lesson.DENSE:
    page.say("images", "copies")
if not steps:
    page.say("images", "exact")

page.say("images", "forward", **figures)
film_with_export(
    lesson.forward(experiment, images), key="images-forward", name=f"toydiff-forward-{experiment.data}", trails=False
)
lesson.histogram(experiment, images)
page.say("images", "pixels")
page.link_to("between", words("page.next_between"))
