"""Live training: what a run promises, whoever advances it."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from toydiff.experiment import Experiment
from toydiff.ui import live
from toydiff.ui.live import Run

ROOT = Path(__file__).resolve().parent.parent
SMALL = Experiment(points=100, T=10, width=8, depth=1, batch=16, particles=16)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(live, "SAMPLES", 64)


@pytest.fixture
def new_run(request) -> Iterator[Callable[..., Run]]:
    """Makes runs that do not go on after the test."""
    runs: list[weakref.ref[Run]] = []

    def make(experiment: Experiment = SMALL, kind: type[Run] = Run, **more) -> Run:
        run = kind(experiment, **more)
        runs.append(weakref.ref(run))
        return run

    yield make
    for ref in runs:
        run = ref()
        if run is not None:
            run.pause()  # and waits for the slice at hand


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def stands_still(run_or_trainer, seconds: float = 0.4) -> bool:
    """No step in a time in which a training thread makes hundreds."""
    step = run_or_trainer.step
    time.sleep(seconds)
    return run_or_trainer.step == step


def test_a_run_begins_with_a_picture_of_the_untrained_network(new_run):
    now = new_run().snapshot()
    assert (now.step, now.running, now.diverged_at, len(now.losses)) == (0, False, None, 0)
    assert [point.step for point in now.checkpoints] == [0]
    assert now.checkpoints[0].samples.shape == (16, 2)


def test_a_run_trains_in_the_thread_until_it_is_paused(new_run):
    run = new_run()
    assert run.step == 0
    caller = threading.get_ident()
    seen = []
    original = run.work
    run.work = lambda: (seen.append(threading.get_ident()), original())[1]
    run.start()
    assert run.running
    wait_for(lambda: run.step >= 50)
    assert set(seen) and caller not in seen

    run.pause()
    step = run.step
    assert not run.running
    assert stands_still(run)
    assert run.step == step
    now = run.snapshot()
    assert now.step == now.checkpoints[-1].step == step  # the picture is of this very network
    assert now.seconds > 0
    assert now.speed > 0


def test_a_paused_run_goes_on_where_it_was(new_run):
    run = new_run()
    run.start()
    wait_for(lambda: run.step >= 20)
    run.pause()
    losses = run.snapshot().losses
    run.start()
    wait_for(lambda: run.step >= len(losses) + 20)
    run.pause()
    assert run.snapshot().losses[: len(losses)].equal(losses)


def test_snapshots_taken_while_it_trains_fit_together(new_run, monkeypatch):
    monkeypatch.setattr(live, "REFRESH", 0.02)
    run = new_run()
    run.start()
    snapshots = []
    wait_for(lambda: snapshots.append(run.snapshot()) or len({now.step for now in snapshots}) > 3)
    run.pause()
    for now in snapshots:
        steps = [point.step for point in now.checkpoints]
        assert len(now.losses) == now.step
        assert now.losses.isfinite().all()
        assert steps == sorted(set(steps))
        assert steps[-1] <= now.step
        assert now.checkpoints[-1].seconds <= now.seconds + 1e-9
    for before, after in pairwise(snapshots):
        assert after.step >= before.step
        assert after.losses[: before.step].equal(before.losses)


def test_a_snapshot_never_waits_for_the_training(new_run):
    run = new_run()
    run.advance(3)
    snapshots = []
    with run._lock:  # as during a slice
        reader = threading.Thread(target=lambda: snapshots.append(run.snapshot()), daemon=True)
        reader.start()
        reader.join(timeout=30)
    assert [now.step for now in snapshots] == [3]


def test_a_kept_snapshot_does_not_change(new_run):
    run = new_run()
    run.advance(5)
    now = run.snapshot()
    losses, count, samples = now.losses.clone(), len(now.checkpoints), now.checkpoints[-1].samples.clone()
    run.advance(5)
    assert now.losses.equal(losses)
    assert len(now.checkpoints) == count
    assert now.checkpoints[-1].samples.equal(samples)


def test_checkpoints_come_by_themselves(new_run, monkeypatch):
    monkeypatch.setattr(live, "REFRESH", 0.02)
    run = new_run()
    run.start()
    wait_for(lambda: len(run.snapshot().checkpoints) >= 5)
    run.pause()


def test_checkpoints_are_thinned_and_both_ends_are_kept(new_run, monkeypatch):
    monkeypatch.setattr(live, "CHECKPOINTS", 6)
    run = new_run()
    for step in range(1, 41):
        run.advance(1)
        steps = [point.step for point in run.snapshot().checkpoints]
        assert len(steps) <= 6
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (0, step)
    assert len(steps) >= 4
    run.pause()
    assert [point.step for point in run.snapshot().checkpoints] == steps  # no step, no new picture


def test_the_film_of_a_run_counts_its_steps(new_run):
    run = new_run()
    run.advance(3)
    run.advance(4)
    film = run.snapshot().trajectory
    assert film.t.tolist() == [0, 3, 7]
    assert film.x.shape == (3, 16, 2)
    assert film.end.equal(run.snapshot().checkpoints[-1].samples)


def test_one_step_is_one_step(new_run):
    run = new_run()
    run.advance(1)
    assert run.step == len(run.snapshot().losses) == 1


def test_training_stops_when_nobody_is_there_and_goes_on_when_somebody_is(new_run):
    there = [True]
    run = new_run(alive=lambda: there[0])
    run.start()
    wait_for(lambda: run.step >= 10)
    there[0] = False
    wait_for(lambda: stands_still(run))
    assert run.running  # it is wanted: it only waits
    there[0] = True
    step = run.step
    wait_for(lambda: run.step > step)


def test_a_run_that_nobody_holds_is_gone_and_trains_no_more(new_run):
    runs = [new_run()]
    runs[0].start()
    trainer, ref = runs[0]._lanes[0].trainer, weakref.ref(runs[0])
    wait_for(lambda: trainer.step >= 10)
    runs.clear()

    def gone() -> bool:
        gc.collect()
        return ref() is None

    wait_for(gone)
    assert stands_still(trainer)


def test_runs_take_turns(new_run):
    class Counted(Run):
        turns = 0

        def work(self) -> bool:
            worked = super().work()
            self.turns += worked
            return worked

    slow = Experiment(points=100, T=10, width=128, depth=4, batch=512, particles=16)
    runs = [new_run(kind=Counted), new_run(slow, kind=Counted)]
    for run in runs:
        run.start()
    wait_for(lambda: all(run.step > 0 for run in runs))
    before = [run.turns for run in runs]
    wait_for(lambda: runs[0].turns >= before[0] + 8)
    turns = [run.turns - start for run, start in zip(runs, before, strict=True)]
    for run in runs:
        run.pause()
    assert abs(turns[0] - turns[1]) <= 2, turns  # a slice each, however slow the other one's network is


def test_the_same_seed_gives_the_same_samples_however_it_was_cut_into_slices(new_run):
    live_run, at_once, in_pieces = new_run(), new_run(), new_run()
    live_run.start()
    wait_for(lambda: live_run.step >= 60)
    live_run.pause()
    steps = live_run.step
    at_once.advance(steps)
    for piece in (1, 7, steps - 8):
        in_pieces.advance(piece)
    expected = at_once.snapshot()
    for run in (live_run, in_pieces):
        now = run.snapshot()
        assert now.step == steps
        assert now.losses.equal(expected.losses)
        assert now.checkpoints[-1].samples.equal(expected.checkpoints[-1].samples)
        assert now.checkpoints[-1].ratio == expected.checkpoints[-1].ratio


def test_another_seed_gives_other_samples(new_run):
    first, second = new_run(), new_run(Experiment(**vars(SMALL) | {"seed": 1}))
    first.advance(20)
    second.advance(20)
    assert not first.snapshot().losses.equal(second.snapshot().losses)


def test_all_checkpoints_start_from_the_same_noise(new_run):
    """Else the particles would jump about from one to the next."""
    run = new_run()
    start = run._lanes[0].start.clone()
    run.advance(1)
    first = run.snapshot().checkpoints[-1].samples
    run.pause()
    assert run._lanes[0].start.equal(start)
    again = new_run()
    again.advance(1)
    assert again.snapshot().checkpoints[-1].samples.equal(first)


def test_the_predictor_stays_as_it_was(new_run):
    run = new_run()
    run.advance(10)
    model, steps = run.predictor()
    x, t = torch.randn(5, 2), torch.full((5,), 3)
    before = model(x, t).clone()
    run.advance(10)
    assert steps == 10
    assert model(x, t).equal(before)
    assert not run.predictor()[0](x, t).equal(before)


def test_an_explosion_stops_the_run_for_good(new_run):
    run = new_run(Experiment(**vars(SMALL) | {"lr": 1e3, "width": 32, "depth": 2}))
    run.start()
    wait_for(lambda: not run.running)
    now = run.snapshot()
    assert now.diverged_at is not None
    assert now.step == now.diverged_at + 1
    assert now.checkpoints[-1].step == now.step
    assert now.checkpoints[-1].samples.isfinite().all()
    for again in (run.start, lambda: run.advance(1)):
        again()
        assert not run.running
        assert run.step == now.step


def test_what_goes_wrong_in_one_run_stops_no_other(new_run, caplog):
    class Broken(Run):
        def work(self) -> bool:
            raise MemoryError("too little")

    broken, sound = new_run(kind=Broken), new_run()
    broken.start()
    wait_for(lambda: not broken.running)
    sound.start()
    wait_for(lambda: sound.step >= 20)
    assert "too little" in caplog.text


def test_a_pause_at_any_moment_is_a_pause(new_run):
    run = new_run()

    class Trainer:
        """Another thread presses pause just when work() looks whether the loss has exploded."""

        step = 0
        losses = torch.empty(0)

        def advance(self, n: int) -> None:
            self.step += n

        @property
        def diverged_at(self) -> None:
            run.running = False

    (lane,) = run._lanes
    lane.trainer = Trainer()
    run.running = True
    run._checkpoint = lambda: None
    run.work()
    assert not run.running


def test_a_process_that_ends_while_training_ends_well():
    program = (
        "import time; from toydiff.experiment import Experiment; from toydiff.ui.live import Run\n"
        "run = Run(Experiment(points=50, particles=4)); run.start(); time.sleep(0.5)"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
