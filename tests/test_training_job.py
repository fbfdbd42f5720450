"""What trains, without any process around it: slices, turns, pictures, errors."""

import logging
import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from tests.test_live import EVAL_SETTINGS, ROOT, SMALL
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server import scheduler, trained_network, training_job, transport
from toydiff.server.limits import limits
from toydiff.server.scheduler import Scheduler, trouble
from toydiff.server.snapshots import Evaluation, Record, Snapshot, Trouble, Update
from toydiff.server.trained_network import EvalSettings, JobSpec
from toydiff.server.training_job import TrainingJob

SLOW = Experiment(points=100, T=10, width=128, depth=4, batch=512, particles=16)
OTHERS = [
    replace(SMALL, **{field: name}) for field in ("network", "target") for name in Experiment.choices()[field][1:]
]


def order(*experiments: Experiment, settings: EvalSettings = EVAL_SETTINGS) -> JobSpec:
    return JobSpec(experiments or (SMALL,), settings, compared=len(experiments) > 1)


class Watched:
    """A job with what a page would see of it."""

    def __init__(self, what: JobSpec) -> None:
        self.job, self.record = TrainingJob(what), Record(len(what.experiments))
        self.settle()

    def settle(self) -> tuple[Snapshot, ...]:
        """Everything done that was asked for, and seen."""
        while not self.job.settled:
            self.job.work(0.0)
        return self.look()

    def look(self) -> tuple[Snapshot, ...]:
        self.record.apply(transport.unpacked(transport.packed(self.job.update())))  # as if it had travelled
        return self.record.now[1]

    def advance(self, n: int, picture: bool = True) -> Snapshot:
        self.job.advance(n, picture)
        return self.settle()[0]


def run_for(job: TrainingJob, steps: int) -> None:
    """A running job, slice by slice, until it has made so many steps more."""
    end = job.step + steps
    while job.step < end and job.wants:
        job.work(0.001)


def test_nothing_happens_by_itself():
    job = Watched(order()).job
    assert not job.wants
    job.work()
    assert job.step == 0


def test_slices_of_any_length_give_the_same_training_and_the_same_pictures():
    whole, pieces, slices = (Watched(order()) for _ in range(3))
    whole.advance(60)
    for n in (1, 7, 52):
        pieces.advance(n, picture=False)
    slices.job.start()
    run_for(slices.job, 30)
    slices.job.stop()
    slices.advance(60 - slices.job.step)
    trainer = SMALL.trainer()
    trainer.advance(60)
    pieces.job.pause()
    for one in (whole, pieces, slices):
        now = one.settle()[0]
        assert now.losses.equal(trainer.losses)
        assert now.evaluations[-1].samples.equal(whole.look()[0].evaluations[-1].samples)
        assert now.evaluations[-1].ratio == whole.look()[0].evaluations[-1].ratio


def test_a_picture_is_the_run_of_the_experiment_and_can_be_interrupted_anywhere():
    watched = Watched(order())
    watched.job.advance(20)
    bites = 0
    while not watched.job.settled:
        watched.job.work(0.0)
        bites += 1
    assert bites > SMALL.T  # a look at the clock after each of its jumps
    trainer = SMALL.trainer()
    trainer.advance(20)
    film = replace(SMALL, particles=EVAL_SETTINGS.shown).reverse(trainer.predictor, "ddpm")  # as another page shows it
    assert watched.look()[0].evaluations[-1].samples.equal(film.end)


def test_equal_experiments_share_the_picture_of_the_untrained_network():
    first = Watched(order())
    again = TrainingJob(order())
    again.work(0.0)
    again.work(0.0)  # none of the steps of its run
    assert again.settled
    assert again.update().fresh[0][0].samples.equal(first.look()[0].evaluations[0].samples)


def test_checkpoints_come_by_themselves():
    watched = Watched(order(settings=EVAL_SETTINGS._replace(refresh=0.01)))
    watched.job.start()
    while len(watched.look()[0].evaluations) < 5:
        watched.job.work()
    steps = [point.step for point in watched.look()[0].evaluations]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize("company", [0, training_job.MANY_JOBS])
def test_in_a_crowd_pictures_leave_most_of_the_time_for_training(company, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(training_job, "time", SimpleNamespace(monotonic=lambda: clock.now))
    watched = Watched(order(settings=EVAL_SETTINGS._replace(refresh=0.1)))
    watched.job.start()
    watched.job.company = company
    bite, seconds = watched.job._bite, {True: 0.0, False: 0.0}  # of pictures, and of training

    def bitten() -> None:
        drawing = watched.job._drawing is not None
        bite()
        clock.now += 0.02
        seconds[drawing] += 0.02

    monkeypatch.setattr(watched.job, "_bite", bitten)
    while len(watched.job._marks) < 5:
        watched.job.work(0.02)
    share = seconds[True] / sum(seconds.values())
    assert share < 1 / training_job.LONGER if company else share > 1 / 2


@pytest.mark.slow
def test_in_a_crowd_not_every_picture_is_measured_but_all_are_the_same(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(training_job, "time", SimpleNamespace(monotonic=lambda: clock.now))
    alone, one = (Watched(order(settings=EVAL_SETTINGS._replace(refresh=0.05))) for _ in range(2))
    bite = one.job._bite

    def bitten() -> None:
        bite()
        clock.now += 0.002

    monkeypatch.setattr(one.job, "_bite", bitten)
    one.job.company = training_job.MANY_JOBS
    one.job.start()
    while len(one.job._marks) < 12:
        one.job.work(0.001)
    one.job.stop()
    seen = one.settle()[0]
    measured = [point for point in seen.evaluations if not math.isnan(point.ratio)]
    assert [point.step for point in measured[:2]] == [point.step for point in seen.evaluations[:2]]
    assert 3 < len(measured) < 8
    cost = 0.002 * 2 * SMALL.T  # both runs of a picture that is measured
    assert all(b.seconds - a.seconds > training_job.RARER * cost for a, b in pairwise(measured[1:]))
    assert seen.ratio == measured[-1].ratio
    assert math.isnan(seen.evaluations[2].ratio)
    for point in seen.evaluations[1:4]:
        other = alone.advance(point.step - alone.job.step).evaluations[-1]
        assert other.samples.equal(point.samples)
        assert other.ratio == point.ratio or math.isnan(point.ratio)


def test_in_a_crowd_the_first_picture_does_not_wait_for_what_the_untrained_one_took(monkeypatch):
    """Which is all that a student waits for at first, and not training time."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(training_job, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(trained_network, "_untrained", {})
    new = TrainingJob(order())
    bite = new._bite

    def bitten() -> None:
        bite()
        clock.now += 0.1

    monkeypatch.setattr(new, "_bite", bitten)
    new.company = training_job.MANY_JOBS
    new.start()
    while len(new._marks) < 2:
        new.work(0.02)
    assert new._marks[1][1] < 0.5 + 0.1 * (2 * SMALL.T + 4)  # a third of a second, and the picture, which is measured


def test_checkpoints_are_thinned_and_both_ends_are_kept():
    watched = Watched(order(settings=EVAL_SETTINGS._replace(evaluations=6)))
    for step in range(1, 41):
        steps = [point.step for point in watched.advance(1).evaluations]
        assert len(steps) <= 6
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (0, step)
    assert len(steps) >= 4
    watched.job.pause()
    assert [point.step for point in watched.settle()[0].evaluations] == steps  # no step, no new picture


def test_snapshots_taken_while_it_trains_fit_together():
    watched = Watched(order(settings=EVAL_SETTINGS._replace(refresh=0.01)))
    watched.job.start()
    before = watched.look()[0]
    for _ in range(30):
        watched.job.work(0.004)
        now = watched.look()[0]
        steps = [point.step for point in now.evaluations]
        assert len(now.losses) == now.step >= before.step
        assert now.losses.isfinite().all()
        assert now.losses[: before.step].equal(before.losses)
        assert steps == sorted(set(steps))
        assert steps[-1] <= now.step
        assert now.evaluations[-1].seconds <= now.seconds + 1e-9
        before = now


def test_a_pause_ends_what_was_asked_for_and_makes_a_picture():
    watched = Watched(order())
    watched.job.advance(1000)
    watched.job.work(0.0)
    watched.job.pause()
    now = watched.settle()[0]
    assert 0 < now.step < 1000
    assert now.evaluations[-1].step == now.step
    assert not watched.job.wants


def test_nobody_there_no_step():
    job = Watched(order()).job
    job.there = False
    job.start()
    job.work()
    assert (job.step, job.running, job.wants) == (0, True, False)
    job.there = True
    job.work()
    assert job.step > 0


@pytest.mark.parametrize("picture", [True, False])
def test_an_explosion_ends_it_for_good(picture):
    watched = Watched(order(replace(SMALL, lr=1e3, width=32, depth=2)))
    now = watched.advance(30, picture)
    assert now.diverged_at == now.step - 1 < 29
    assert (now.evaluations[-1].step == now.step) == picture
    assert now.evaluations[-1].samples.isfinite().all()
    watched.job.start()
    assert not watched.job.running
    assert watched.advance(1).step == now.step


def test_who_sees_that_it_has_exploded_finds_the_last_picture():
    watched = Watched(order(replace(SMALL, lr=1e3, width=32, depth=2)))
    watched.job.start()
    while watched.look()[0].running:
        watched.job.work(0.0)
    now = watched.look()[0]
    assert now.evaluations[-1].step == now.step == now.diverged_at + 1


def test_large_networks_are_asked_for_few_steps_at_a_time():
    huge = Watched(order(Experiment(points=100, T=10, width=512, depth=8, batch=512, particles=16))).job
    huge.advance(3)
    huge.work(0.0)
    assert huge.step == 1


# ---------------------------------------------------------------- races


def test_slices_train_both_lanes_alike():
    watched = Watched(order(SMALL, OTHERS[0]))
    watched.job.start()
    while watched.job.step < 50:
        watched.job.work(0.001)
        assert {len(lane.losses) for lane in watched.look()} == {watched.job.step}
    at_once = Watched(order(SMALL, OTHERS[0]))
    at_once.advance(watched.job.step)
    for lane, expected in zip(watched.look(), at_once.look(), strict=True):
        assert lane.losses.equal(expected.losses)


@pytest.mark.parametrize("place", [0, 1])
def test_a_lane_that_fails_leaves_all_at_the_same_step(place, monkeypatch):
    experiments = [SMALL, OTHERS[0]]
    watched = Watched(order(*experiments))
    watched.advance(5)
    trainer = watched.job._nets[place].trainer
    guess = trainer._guess

    def fails(x, t):
        if trainer.step == 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return guess(x, t)

    monkeypatch.setattr(trainer, "_guess", fails)
    watched.job.advance(10)
    with pytest.raises(torch.OutOfMemoryError):
        watched.job.work()
    watched.job.fail(Trouble("live.no_gpu_memory", {}))
    steps = {lane.trainer.step for lane in watched.job._nets}
    assert steps == {5} if place == 0 else steps == {8}
    for lane, experiment in zip(watched.look(), experiments, strict=True):
        alone = experiment.trainer()
        alone.advance(watched.job.step)
        assert lane.losses.equal(alone.losses)


# ---------------------------------------------------------------- saved, and gone on with


@pytest.mark.parametrize("experiments", [(SMALL,), (SMALL, OTHERS[0])])
def test_a_saved_training_goes_on_as_if_nothing_had_been(experiments):
    watched = Watched(order(*experiments))
    watched.advance(30)
    saved = transport.unpacked(transport.packed(watched.job.save()))
    before = watched.record
    watched.advance(20)
    expected = watched.look()

    job = TrainingJob(order(*experiments)._replace(saved=saved._replace(losses=before.losses(saved.step))))
    assert job.step == 30
    assert not job.wants
    before.cut(saved.step, saved.seconds)
    assert [len(lane.losses) for lane in before.now[1]] == [30] * len(experiments)
    assert [point.step for point in before.now[1][0].evaluations] == [0, 30]
    job.advance(20)
    while not job.settled:
        job.work()
    before.apply(job.update())
    for lane, other in zip(before.now[1], expected, strict=True):
        assert lane.losses.equal(other.losses)
        assert [point.step for point in lane.evaluations] == [0, 30, 50]
        assert lane.evaluations[-1].samples.equal(other.evaluations[-1].samples)


def test_an_untrained_network_is_saved_as_nothing():
    saved = Watched(order()).job.save()
    assert saved.states is None
    assert TrainingJob(order()._replace(saved=saved)).step == 0


def test_it_is_saved_after_so_many_seconds_of_training():
    job = Watched(order(settings=EVAL_SETTINGS._replace(save=0.05))).job
    job.save()
    assert not job.due
    job.start()
    while not job.due:
        job.work(0.001)
    job.save()
    assert not job.due


def test_a_cut_record_leaves_old_snapshots_alone():
    record = Record(1)
    point = Evaluation(0, 0.0, torch.zeros(1, 2), 1.0, math.nan)
    record.apply(Update(0, 3, 1.0, 1.0, True, (None,), 0, (torch.arange(3.0),), (0,), ((point,),), None))
    (old,) = record.now[1]
    record.cut(1, 0.5)
    record.apply(Update(0, 2, 1.0, 1.0, True, (None,), 1, (torch.tensor([9.0]),), (0,), (), None))
    assert old.losses.tolist() == [0, 1, 2]
    assert record.now[1][0].losses.tolist() == [0, 9]


# ---------------------------------------------------------------- turns


def shares(shop: Scheduler, turns: int) -> dict[int, float]:
    """The seconds of work that each job had."""
    before = {key: job.used for key, job in shop.jobs.items()}
    for _ in range(turns):
        key = shop.next()
        assert key is not None
        shop.work(key)
    return {key: job.used - before[key] for key, job in shop.jobs.items()}


def busy(*experiments: Experiment) -> Scheduler:
    shop = Scheduler()
    for key, experiment in enumerate(experiments):
        job = shop.add(key, order(experiment))
        while not job.settled:
            job.work()
        job.used = 0.0
        job.start()
    return shop


def test_who_trains_gets_its_turn_however_slow_the_others_are():
    shop = busy(SMALL, SLOW, SMALL)
    order_of_turns = []
    for _ in range(12):
        key = shop.next()
        order_of_turns.append(key)
        shop.jobs[key].used += 1.0  # as if each slice had taken a second
    assert [order_of_turns.count(key) for key in range(3)] == [4, 4, 4]


def test_one_that_takes_longer_has_fewer_turns():
    shop = busy(SMALL, SLOW)
    turns = []
    for _ in range(40):
        key = shop.next()
        turns.append(key)
        shop.jobs[key].used += (1.0, 3.0)[key]
    assert turns.count(0) == pytest.approx(3 * turns.count(1), abs=3)


def test_who_rested_has_no_claim_on_the_time():
    shop = busy(SMALL, SLOW)
    shop.jobs[1].stop()
    for _ in range(10):
        shop.jobs[shop.next()].used += 1.0
    shop.jobs[1].start()
    turns = []
    for _ in range(10):
        key = shop.next()
        turns.append(key)
        shop.jobs[key].used += 1.0
    assert abs(turns.count(0) - turns.count(1)) <= 2


def test_what_somebody_waits_for_comes_soon_and_holds_nobody_up_for_long():
    shop = busy(*[SMALL] * 8)
    asked = shop.jobs[5]
    asked.stop()
    asked.ask(1)
    asked.advance(10**9)
    turns = []
    for _ in range(60):
        key = shop.next()
        turns.append(key)
        shop.jobs[key].used += 0.1
        shop.jobs[key].spent += 0.1
    soon = [i for i, key in enumerate(turns) if key == 5][:10]
    assert soon[0] <= 1
    assert soon[-1] <= 20  # every second turn, for its first second
    assert turns[24:].count(5) <= 36 / 8 + 2  # then as often as everybody


def test_an_error_ends_one_training_and_no_other(caplog, monkeypatch):
    shop = busy(SMALL, SMALL)

    def fails(n: int) -> None:
        raise MemoryError("too little")

    monkeypatch.setattr(shop.jobs[0]._nets[0].trainer, "advance", fails)
    with caplog.at_level(logging.ERROR):
        shares(shop, 4)
    broken, sound = shop.jobs[0], shop.jobs[1]
    assert not broken.running
    assert broken.update().problem == Trouble("live.no_memory", {})
    assert sound.running and sound.step > 0 and sound.problem is None
    assert "too little" in caplog.text
    monkeypatch.undo()
    broken.start()
    assert broken.problem is None
    while broken.step == 0:
        broken.work()


@pytest.mark.parametrize(
    ("error", "key"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "live.no_gpu_memory"),
        (RuntimeError("MPS backend out of memory"), "live.no_gpu_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "live.no_memory"),
        (MemoryError(), "live.no_memory"),
        (ZeroDivisionError("boo"), "live.failed"),
    ],
)
def test_errors_in_words(error, key):
    assert trouble(error).key == key
    assert "{" not in trouble(error).sentence


def test_memory_that_cannot_be_had_is_called_so():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46)
    assert trouble(caught.value).key == "live.no_memory"


# ---------------------------------------------------------------- images


def test_images_are_held_once_for_a_whole_class():
    experiment = ImageExperiment(T=10, batch=8, n=60)
    jobs = [
        TrainingJob(
            JobSpec((experiment,), EVAL_SETTINGS, images=transport.unpacked(transport.packed(experiment.images())))
        )
        for _ in range(2)
    ]
    first, second = (job._nets[0].trainer.data for job in jobs)
    assert first is second


def test_threads_are_as_many_for_every_step_of_images_and_one_for_points(monkeypatch):
    used = []
    # a GPU needs one, to give it its orders
    monkeypatch.setattr(trained_network, "usual_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(scheduler, "_use", used.append)
    experiment = ImageExperiment(T=10, batch=8, n=60, data="two-pixel")
    shop = Scheduler()
    shop.add(0, JobSpec((experiment,), EVAL_SETTINGS, images=experiment.images()))
    shop.add(1, order())
    for key in (0, 1):
        shop.work(key)
    assert used == [1, 1, limits().threads, 1]


@pytest.mark.slow
def test_the_worker_starts_without_what_only_pages_need():
    unwanted = ("streamlit", "matplotlib", "plotly")
    code = f"import sys, toydiff.server.training_worker; print([m for m in {unwanted} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
