"""Live training, through the worker process: what a run promises to a page, whatever happens to that process."""

import gc
import math
import os
import signal
import subprocess
import sys
import threading
import weakref
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.waiting import PATIENCE, wait_for
from toydiff.data import user_data
from toydiff.experiments import checkpoint
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server import live, supervisor
from toydiff.server.live import SHOWN_SAMPLES, ImageRun, Run
from toydiff.server.snapshots import Failed, Unknown
from toydiff.server.trained_network import EvalSettings
from toydiff.text import words

ROOT = Path(__file__).resolve().parent.parent
SMALL = Experiment(points=100, T=10, width=8, depth=1, batch=16, particles=16)
# few samples; states are saved on request, however slow it trains
EVAL_SETTINGS = EvalSettings(samples=64, save=math.inf)
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs signals")


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(live, "EVAL_SETTINGS", EVAL_SETTINGS)
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.05)


def trained(run: Run) -> int:
    """How many steps it has made, as the worker says."""
    _, step = run._worker.ask("predictors", run._key).result(PATIENCE)
    return step


def stands_still(run: Run) -> bool:
    """No step while its worker makes hundreds for somebody else: whoever trains has every second turn at least."""
    step = trained(run)
    Run(SMALL).advance(300)
    return trained(run) == step


def unknown(run: Run, key: int | None = None) -> bool:
    """Whether the worker does not have it (any more)."""
    answer: Future[object] = run._worker.ask("predictors", run._key if key is None else key)
    return isinstance(answer.exception(timeout=PATIENCE), Unknown)


def as_the_trainer_does(run: Run) -> bool:
    """Whether the losses are bit for bit those of `Experiment.trainer()`."""
    trainer = run.experiment.trainer()
    trainer.advance(run.step)
    return run.snapshot().losses.equal(trainer.losses)


def test_a_run_begins_with_a_picture_of_the_untrained_network():
    now = Run(SMALL).snapshot()
    assert (now.step, now.running, now.diverged_at, len(now.losses)) == (0, False, None, 0)
    assert (now.problem, now.lost) == (None, None)
    assert [point.step for point in now.evaluations] == [0]
    assert now.evaluations[0].samples.shape == (SHOWN_SAMPLES, 2)


def test_a_run_trains_in_another_process_until_it_is_paused():
    run = Run(SMALL)
    assert run.step == 0
    assert run._worker.pid not in (None, os.getpid())
    run.start()
    assert run.running
    wait_for(lambda: run.step >= 50)

    run.pause()
    step = run.step
    assert not run.running
    assert stands_still(run)
    now = run.snapshot()
    assert now.step == now.evaluations[-1].step == step  # the picture is of this very network
    assert now.seconds > 0
    assert now.speed > 0
    assert as_the_trainer_does(run)


def test_a_paused_run_goes_on_where_it_was():
    run = Run(SMALL)
    run.start()
    wait_for(lambda: run.step >= 20)
    run.pause()
    losses = run.snapshot().losses
    run.start()
    wait_for(lambda: run.step >= len(losses) + 20)
    run.pause()
    assert run.snapshot().losses[: len(losses)].equal(losses)
    assert as_the_trainer_does(run)


@POSIX
def test_a_snapshot_never_waits_for_the_training():
    run = Run(SMALL)
    run.advance(3)
    os.kill(run._worker.pid, signal.SIGSTOP)
    try:
        now = run.snapshot()
        assert (now.step, now.running) == (3, False)
        run.start()
        assert run.snapshot().running  # that was said, though nobody has heard it yet
        run.running = False
        assert not run.snapshot().running
    finally:
        os.kill(run._worker.pid, signal.SIGCONT)


def test_a_kept_snapshot_does_not_change():
    run = Run(SMALL)
    run.advance(5)
    now = run.snapshot()
    losses, count, samples = now.losses.clone(), len(now.evaluations), now.evaluations[-1].samples.clone()
    run.advance(5)
    assert now.losses.equal(losses)
    assert len(now.evaluations) == count
    assert now.evaluations[-1].samples.equal(samples)


def test_the_film_of_a_run_counts_its_steps():
    run = Run(SMALL)
    run.advance(3)
    run.advance(4)
    run.advance(2, picture=False)
    film = run.snapshot().trajectory
    assert run.step == 9
    assert film.t.tolist() == [0, 3, 7]
    assert film.x.shape == (3, SHOWN_SAMPLES, 2)
    assert film.end.equal(run.snapshot().evaluations[-1].samples)


def test_one_step_is_one_step():
    run = Run(SMALL)
    run.advance(1)
    assert run.step == len(run.snapshot().losses) == 1
    assert stands_still(run)


def test_another_seed_gives_other_samples():
    first, second = Run(SMALL), Run(replace(SMALL, seed=1))
    first.advance(20)
    second.advance(20)
    assert not first.snapshot().losses.equal(second.snapshot().losses)


def test_the_predictor_stays_as_it_was():
    run, trainer = Run(SMALL), SMALL.trainer()
    run.advance(10)
    trainer.advance(10)
    model, steps = run.predictor()
    x, t = torch.randn(5, 2), torch.full((5,), 3)
    before = model(x, t).clone()
    assert before.equal(trainer.predictor(x, t))
    run.advance(10)
    assert steps == 10
    assert model(x, t).equal(before)
    again, steps = run.predictor()
    assert steps == 20
    assert not again(x, t).equal(before)


def test_an_explosion_stops_the_run_for_good():
    run = Run(replace(SMALL, lr=1e3, width=32, depth=2))
    run.start()
    wait_for(lambda: not run.running)
    now = run.snapshot()
    assert now.diverged_at is not None
    assert now.step == now.diverged_at + 1
    assert now.evaluations[-1].step == now.step
    assert now.evaluations[-1].samples.isfinite().all()
    assert now.problem is None
    for again in (run.start, lambda: run.advance(1)):
        again()
        assert not run.running
        assert run.step == now.step


@pytest.mark.slow
def test_many_train_at_once_and_every_one_is_what_it_would_be_alone():
    runs = [Run(replace(SMALL, seed=seed)) for seed in range(12)]
    for run in runs:
        run.start()
    wait_for(lambda: all(run.step >= 20 for run in runs))
    assert set(runs) <= set(live.trainings())
    assert live.load().running == 12
    runs[3].pause()  # while the others train
    assert runs[3].snapshot().evaluations[-1].step == runs[3].step
    for run in runs:
        run.pause()
        assert as_the_trainer_does(run)
    assert live.load().running == 0


@pytest.mark.slow
def test_the_load_says_what_the_workers_do():
    run = Run(SMALL)
    run.start()
    wait_for(lambda: live.load().steps > 0)
    (memory,) = live.load().memory
    assert memory is None or memory > 1e7
    run.pause()
    wait_for(lambda: live.load().steps == 0)


# ---------------------------------------------------------------- data that somebody brought along


def test_data_of_ones_own_travels_along_and_is_held_as_long_as_the_run():
    points = torch.randn(200, 2, generator=torch.Generator().manual_seed(7))
    one = user_data.keep("mine", points)
    run = Run(replace(SMALL, dataset=one.key, points=200))
    run.advance(5)
    assert as_the_trainer_does(run)


def test_data_that_is_gone_is_a_sentence():
    with pytest.raises(user_data.DatasetNotFound, match=words("problems.gone").split(",")[0]):
        Run(replace(SMALL, dataset="own-0123456789abcdef"))


def test_images_travel_along_and_a_training_from_a_file_goes_on():
    experiment = ImageExperiment(T=10, batch=8, n=60, data="two-pixel")
    images = experiment.images()
    trainer = experiment.trainer(images)
    trainer.advance(4)
    run = ImageRun(experiment, images, state=trainer.state_dict())
    assert run.step == run.snapshot().evaluations[0].step == 4
    assert run.device.type in ("cpu", "cuda", "mps")
    run.advance(2)
    assert run.snapshot().losses[:4].equal(trainer.losses)
    assert len(run.snapshot().losses) == 6
    lesson = checkpoint.unpack(run.packed(), "a file")
    assert (lesson.experiment, lesson.state["step"]) == (experiment, 6)
    again = ImageRun(experiment, images, state=lesson.state)
    for one in (run, again):
        one.advance(3)
    assert again.snapshot().losses.equal(run.snapshot().losses)


def test_points_of_ones_own_are_in_the_file_and_the_training_goes_on_from_it():
    one = user_data.keep("mine", torch.randn(150, 2, generator=torch.Generator().manual_seed(8)))
    run = Run(replace(SMALL, dataset=one.key, points=150))
    run.advance(6)
    shown = run.experiment.looked_at(particles=99, sampler="ddim")
    lesson = checkpoint.unpack(run.packed(shown), "a file")
    assert lesson.experiment == shown
    again = Run(run.experiment, state=lesson.state)
    again.advance(4)
    assert again.step == 10
    assert as_the_trainer_does(again)


# ---------------------------------------------------------------- nobody there


def test_training_stops_when_nobody_is_there_and_goes_on_when_somebody_is():
    there = [True]
    run = Run(SMALL, alive=lambda: there[0])
    run.start()
    wait_for(lambda: run.step >= 10)
    there[0] = False
    wait_for(lambda: stands_still(run))
    assert run.running  # it is wanted: it only waits
    there[0] = True
    step = run.step
    wait_for(lambda: run.step > step)


def test_who_asks_before_it_is_noticed_that_they_are_back_gets_an_answer():
    there = [True]
    run = Run(SMALL, alive=lambda: there[0])
    run.start()
    wait_for(lambda: run.step >= 10)
    there[0] = False
    wait_for(lambda: stands_still(run))
    step, count = run.step, len(run.snapshot().evaluations)
    run.advance(5)
    assert run.step == step + 5
    there[0] = True
    wait_for(lambda: run.step > step + 5)
    run.pause()
    assert as_the_trainer_does(run)
    assert run.snapshot().lost is None
    assert len(run.snapshot().evaluations) > count


def test_a_run_that_nobody_holds_is_gone_and_trains_no_more():
    runs, other = [Run(SMALL)], Run(SMALL)
    runs[0].start()
    wait_for(lambda: runs[0].step >= 10)
    key, ref = runs[0]._key, weakref.ref(runs[0])
    runs.clear()

    def gone() -> bool:
        gc.collect()
        return ref() is None

    wait_for(gone)
    wait_for(lambda: unknown(other, key))


# ---------------------------------------------------------------- what goes wrong


def broken() -> tuple[user_data.UserDataset, Run]:
    """A run that has a picture, but whose first step fails: numbers of another kind than the weights."""
    one = user_data.keep("broken", torch.randn(100, 2, dtype=torch.float64))
    return one, Run(replace(SMALL, dataset=one.key))


def test_an_error_stops_one_run_with_a_sentence_and_no_other():
    sound, (_one, run) = Run(SMALL), broken()
    sound.start()
    run.start()
    wait_for(lambda: not run.running)
    problem = run.snapshot().problem
    assert problem is not None
    assert problem.sentence == words("live.failed")
    with pytest.raises(Failed, match="error on the server"):
        run.advance(1)
    run.pause()
    assert run.step == 0
    step = sound.step
    wait_for(lambda: sound.step > step)
    assert sound.snapshot().problem is None


def test_what_cannot_be_trained_at_all_is_refused_with_a_sentence():
    experiment = ImageExperiment(T=10, batch=8, n=60, data="two-pixel")
    with pytest.raises(Failed):
        ImageRun(experiment, experiment.images(), state={"step": 3})
    Run(SMALL).advance(1)  # nobody else is harmed


def kill_worker(run: Run) -> None:
    """kill -9, and wait until there is a new one."""
    old = run._worker.pid
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: run._worker.pid != old)


@POSIX
def test_a_killed_worker_comes_back_with_every_run():
    running, paused, fresh = (Run(replace(SMALL, seed=seed)) for seed in range(3))
    paused.advance(30)
    running.advance(40)  # saved here
    running.start()
    wait_for(lambda: running.step >= 150)
    samples = paused.snapshot().evaluations[-1].samples
    kill_worker(running)
    wait_for(lambda: running.snapshot().lost is not None)
    assert running.running and not paused.running
    now = running.snapshot()
    assert now.lost >= 100
    assert now.step >= 40

    wait_for(lambda: running.step >= 60)
    running.pause()
    assert as_the_trainer_does(running)
    steps = [point.step for point in running.snapshot().evaluations]
    assert steps[:2] == [0, 40]
    assert running.snapshot().lost is None  # it has been read

    assert (paused.step, paused.snapshot().lost) == (30, None)
    assert paused.snapshot().evaluations[-1].samples.equal(samples)
    for run in (paused, fresh):
        run.advance(10)
        assert as_the_trainer_does(run)


@pytest.mark.slow
@POSIX
def test_who_waits_when_the_worker_is_killed_gets_what_was_asked_for():
    run = Run(replace(SMALL, width=64))
    done: list[int] = []
    waiting = threading.Thread(target=lambda: (run.advance(2000), done.append(run.step)), daemon=True)
    waiting.start()
    wait_for(lambda: run.step > 0)
    kill_worker(run)
    waiting.join(timeout=PATIENCE)
    assert done == [2000]
    assert as_the_trainer_does(run)


@pytest.mark.slow
@POSIX
def test_a_run_that_kills_its_worker_twice_is_left_alone_and_can_be_tried_again():
    run, other = Run(SMALL), Run(SMALL)
    other.advance(5)
    run.start()
    for _ in range(2):
        wait_for(lambda: run._worker._turn == run._key)
        kill_worker(run)
    wait_for(lambda: not run.running)
    problem = run.snapshot().problem
    assert problem is not None and problem.key == "live.deadly"
    other.advance(5)  # the new worker does not have it
    assert run.step == 0
    assert unknown(run)
    run.start()
    wait_for(lambda: run.step > 0)
    assert run.snapshot().problem is None


@pytest.mark.slow
@POSIX
def test_a_worker_that_hangs_is_replaced(monkeypatch):
    run = Run(SMALL)
    run.advance(10)
    old = run._worker.pid
    os.kill(old, signal.SIGSTOP)
    waiting = threading.Thread(target=lambda: run.advance(10), daemon=True)
    waiting.start()
    monkeypatch.setattr(supervisor, "SILENCE_SECONDS", 0.5)
    wait_for(lambda: run._worker.pid != old)
    monkeypatch.undo()
    waiting.join(timeout=PATIENCE)
    assert run.step == 20
    assert as_the_trainer_does(run)


@pytest.mark.slow
def test_a_worker_that_does_not_start_is_a_sentence(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(live, "MAX_REQUESTS", 2)
    broken = supervisor.WorkerProcess()
    monkeypatch.setattr(live, "_workers", lambda: (broken,))
    try:
        with pytest.raises(Failed, match="does not start"):
            Run(SMALL)
    finally:
        broken.close()


# ---------------------------------------------------------------- processes


@pytest.mark.slow
def test_runs_are_spread_over_the_workers(monkeypatch):
    links = supervisor.WorkerProcess(), supervisor.WorkerProcess()
    monkeypatch.setattr(live, "_workers", lambda: links)
    monkeypatch.setattr(live, "_share_out", lambda: None)  # processors, to a single worker
    live.prepare()
    try:
        runs = [Run(SMALL) for _ in range(4)]
        pids = [run._worker.pid for run in runs]
        assert sorted(pids.count(pid) for pid in set(pids)) == [2, 2]
        assert len(live.load().memory) == 2
        for run in runs:
            run.advance(2)
            assert as_the_trainer_does(run)
    finally:
        for one in links:
            one.close()


PROGRAM = """
import sys, time
from toydiff.experiments.experiment import Experiment
from toydiff.server.live import Run
run = Run(Experiment(points=50, particles=4))
run.start()
while run.step < 20:
    time.sleep(0.01)
print("trains", flush=True)
"""


def started(more: str = "") -> subprocess.Popen[str]:
    """A program that trains; its stderr stays open until its worker has ended too."""
    arguments = [sys.executable, "-c", PROGRAM + more]
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "trains"
    return process


@pytest.mark.slow
def test_a_process_that_ends_while_training_ends_well():
    process = started()
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.slow
@POSIX
def test_a_worker_does_not_outlive_the_app():
    process = started("time.sleep(600)")
    process.kill()
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (-signal.SIGKILL, "")


@pytest.mark.slow
@POSIX
def test_ctrl_c_says_nothing_of_the_worker():
    process = started(
        "try:\n    print('here', flush=True)\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    print('interrupted')"
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "here"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
    out, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out.strip(), errors) == (0, "interrupted", "")
