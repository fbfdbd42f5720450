"""Pictures made in another process: the same ones, one for all who ask, and what goes wrong is a sentence."""

import os
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from streamlit.testing.v1 import AppTest

from tests.rendered import (
    LOCK,
    SMALL,
    die,
    die_again,
    exact_scene,
    place,
    slowly,
    step_by_step,
    unsendable,
    until,
    wrong,
)
from tests.test_live import POSIX
from tests.waiting import PATIENCE, wait_for
from toydiff.data import user_data
from toydiff.diffusion.exact import cloud
from toydiff.draw.cost import Bench
from toydiff.draw.scenes import reverse_scene
from toydiff.experiments.experiment import Experiment
from toydiff.server import supervisor
from toydiff.server.render_pool import RenderJob, RenderPool
from toydiff.server.snapshots import Failed
from toydiff.text import words
from toydiff.ui.rendering import exclusive


@pytest.fixture(scope="module")
def pool() -> Iterator[RenderPool]:
    pool = RenderPool(1)
    for one in pool._workers:
        one.start()
    wait_for(lambda: pool.ready)
    yield pool
    pool.close()


@pytest.fixture
def closed() -> RenderPool:
    """No worker is up, and none will come."""
    return RenderPool(1)


def wait(pool: RenderPool, job: RenderJob, tell: Callable[[float], object] = lambda _: None) -> object:
    wait_for(lambda: pool.go_on(job, tell) or job.picture.done(), "the picture")
    return job.picture.result()


def made(pool: RenderPool, make: Callable[[], object], key: object = None) -> object:
    with pool.requested(make, key) as job:
        return wait(pool, job)


def test_a_worker_is_another_process(pool, closed):
    assert made(pool, place) != os.getpid()
    assert made(closed, place) == os.getpid()  # until there is one


@pytest.mark.parametrize("network", [False, True])
def test_pictures_of_both_are_the_same(pool, network):
    model = SMALL.model() if network else cloud(SMALL.data(), SMALL.noise_schedule())
    here, there = reverse_scene(SMALL, model, "x"), made(pool, partial(reverse_scene, SMALL, model, "x"))
    assert there.stamp == here.stamp
    for a, b in zip(here.panels, there.panels, strict=True):
        assert a.notes == b.notes
        assert torch.equal(a.trajectory.x, b.trajectory.x) and torch.equal(a.trajectory.mean, b.trajectory.mean)


def test_one_picture_for_all_who_ask(pool, tmp_path):
    first, second = (made(pool, partial(exact_scene, SMALL), "key") for _ in range(2))
    assert first is second
    assert made(pool, partial(exact_scene, SMALL)) is not first
    flag = tmp_path / "flag"
    with pool.requested(partial(until, flag), "both") as one, pool.requested(place, "both") as other:
        assert one is other
        flag.touch()
        assert wait(pool, one) == wait(pool, other)


def test_the_line_is_one_and_who_leaves_it_is_out(pool, tmp_path):
    flag = tmp_path / "flag"
    with pool.requested(partial(until, flag)) as busy:
        pool.go_on(busy, lambda _: None)
        with pool.requested(place) as later:
            pool.go_on(later, lambda _: None)
            with pool.requested(place) as last:
                assert [pool.ahead(job) for job in (busy, later, last)] == [0, 0, 1]
                assert later.asked is last.asked is None
            assert list(pool._waiting) == [later]
        assert not pool._waiting
        flag.touch()
        wait(pool, busy)
    assert later.asked is None
    assert not later.picture.done()


def test_whoever_left_may_come_again(pool, tmp_path):
    flag = tmp_path / "flag"
    with pool.requested(partial(until, flag)) as busy:
        pool.go_on(busy, lambda _: None)
        with pool.requested(place, "again") as job:
            pass
        assert not pool._waiting
        flag.touch()
        assert made(pool, place, "again") == job.picture.result()


def test_how_much_is_done_is_told(pool, closed):
    shares: list[float] = []
    with pool.requested(partial(slowly, 4, 0.01)) as job:
        wait(pool, job, shares.append)
    assert job.asked is not None and job.asked.share == 1
    assert not shares  # by the worker, to all who look
    with closed.requested(partial(slowly, 4, 0)) as job:
        assert wait(closed, job, shares.append) == 4
    assert shares == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("which", ["pool", "closed"])
def test_a_sentence_of_the_picture_comes_through(request, which):
    with pytest.raises(ValueError, match="two columns"):
        made(request.getfixturevalue(which), partial(wrong, ValueError("two columns")))


def test_what_went_wrong_is_tried_again_when_somebody_asks_again(pool):
    for _ in range(2):
        with pytest.raises(ValueError, match="once"):
            made(pool, partial(wrong, ValueError("once")), "wrong")
    assert made(pool, place, "wrong")


@pytest.mark.parametrize(("error", "key"), [(MemoryError(), "no_memory"), (ZeroDivisionError(), "failed")])
def test_an_error_is_a_sentence_and_the_worker_lives(pool, error, key):
    before = made(pool, place)
    with pytest.raises(Failed, match=words(f"studio.{key}")[:30]):
        made(pool, partial(wrong, error))
    assert made(pool, place) == before


@POSIX
def test_a_worker_that_is_killed_has_a_successor_that_paints_it(pool, tmp_path):
    before = made(pool, place)
    assert made(pool, partial(die, tmp_path / "flag")) not in (before, os.getpid())


@pytest.mark.slow
@POSIX
def test_a_picture_that_kills_workers_is_given_up(pool):
    with pytest.raises(Failed, match="stopped twice"):
        made(pool, die_again)
    wait_for(lambda: pool.ready)
    assert made(pool, place) != os.getpid()


def test_data_of_somebodys_own_is_brought_to_the_worker(pool):
    one = user_data.keep("brought", torch.randn(200, 2, generator=torch.Generator().manual_seed(5)).double())
    scene = made(pool, partial(exact_scene, Experiment(dataset=one.key, T=10, particles=16, points=150)))
    assert "brought" in scene.stamp
    assert torch.equal(scene.data, exact_scene(Experiment(dataset=one.key, T=10, particles=16, points=150)).data)


def test_what_a_worker_has_to_unpack_may_be_of_somebodys_own(pool):
    one = user_data.keep("a bench", torch.randn(200, 2, generator=torch.Generator().manual_seed(6)).double())
    experiment = Experiment(dataset=one.key, T=10, points=150)
    bench = Bench(experiment, experiment.exact())
    assert made(pool, partial(bench.measure, "ddim", 2))._replace(seconds=0) == bench.measure("ddim", 2)._replace(
        seconds=0
    )


def test_data_that_is_gone_ends_the_waiting(pool, monkeypatch):
    one = user_data.keep("gone", torch.randn(200, 2, generator=torch.Generator().manual_seed(7)).double())
    experiment = Experiment(dataset=one.key, T=10, points=150)
    del one  # its tab was closed
    for _ in range(2):
        with pytest.raises(user_data.DatasetNotFound):
            made(pool, partial(exact_scene, experiment), experiment)


def test_what_cannot_be_sent_is_an_error_of_whoever_asks(pool):
    for _ in range(2):
        with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
            made(pool, lambda: 1, "no name")
    assert made(pool, place)


def test_what_is_made_keeps_nothing_of_what_it_was_made_of(pool, closed):
    for where in (pool, closed):
        with where.requested(place) as job:
            wait(where, job)
        assert job.make is None
        assert job.asked is job.picture


def test_whoever_comes_while_the_maker_is_called_away_has_it_made(closed):
    class CalledAwayError(BaseException):
        pass

    def away(_: float) -> None:
        raise CalledAwayError

    with closed.requested(partial(slowly, 3, 0), "key") as first:
        with pytest.raises(CalledAwayError):
            closed.go_on(first, away)
        with closed.requested(partial(slowly, 3, 0), "key") as second:
            assert wait(closed, second) == 3


def test_a_picture_that_has_cost_the_last_worker_is_given_up(closed, monkeypatch):
    monkeypatch.setattr("toydiff.server.render_pool.NO_WORKER_SECONDS", 0.0)
    with closed.requested(place) as job:
        job.deaths, job.begun_at = 1, 0.0
        with pytest.raises(Failed, match="stopped twice"):
            wait(closed, job)


def test_data_that_nobody_has_is_a_sentence(pool):
    with pytest.raises(user_data.DatasetNotFound):
        made(pool, partial(user_data.find, "own-0123456789abcdef"))


def test_many_ask_at_once(pool):
    found: list[object] = []
    askers = [
        threading.Thread(target=lambda n=n: found.append(made(pool, partial(max, n, 0), n % 5))) for n in range(40)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(120)
    assert len(found) == 40
    assert not pool._waiting
    assert not pool._at_work


@pytest.mark.slow
def test_uploads_have_a_worker_only_while_there_is_work(tmp_path):
    flag, pool = tmp_path / "flag", RenderPool(0)
    assert not pool.ready
    try:
        with pool.requested(partial(step_by_step, flag)) as first, pool.requested(partial(slowly, 4, 0)) as second:
            pool.go_on(first, lambda _: None)
            wait_for(lambda: pool.go_on(first, lambda _: None) or first.asked is not None)
            assert second.asked is None and pool.ahead(second) == 0  # one user's pictures after another
            flag.touch()
            assert wait(pool, first) != os.getpid()
            assert wait(pool, second) == 4
        used = pool._spare
        pool._spare_idle_since = -1e9
        pool._end_spare(used)  # as after a while without work
        assert used._process.poll() is not None
        assert not pool.ready
    finally:
        pool.close()


def test_where_no_process_can_be_started_uploads_are_read_in_place(monkeypatch):
    def no_process(*_: object, **__: object) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(supervisor.subprocess, "Popen", no_process)
    shares: list[float] = []
    with (pool := RenderPool(0)).requested(partial(slowly, 4, 0)) as job:
        assert wait(pool, job, shares.append) == 4
    assert shares == [0.25, 0.5, 0.75, 1]


def test_whoever_paints_in_place_and_is_called_away_leaves_it_to_the_next(closed):
    class CalledAwayError(BaseException):
        pass

    def away(_: float) -> None:
        raise CalledAwayError

    with (
        closed.requested(partial(slowly, 3, 0), "key") as first,
        closed.requested(partial(slowly, 3, 0), "key") as second,
    ):
        with pytest.raises(CalledAwayError):
            closed.go_on(first, away)
        assert wait(closed, second) == 3


def test_no_more_is_kept_than_the_shelf_holds(closed, monkeypatch):
    monkeypatch.setattr("toydiff.server.render_pool.KEPT_PICTURES", 3)
    for n in range(5):
        made(closed, partial(max, n, 0), n)
    assert list(closed._kept) == [2, 3, 4]


@pytest.mark.parametrize("which", ["pool", "closed"])
def test_few_large_pictures_fill_the_kept(which, request, monkeypatch):
    pool = request.getfixturevalue(which)
    monkeypatch.setattr("toydiff.server.render_pool.KEPT_BYTES", 2_500_000)
    pool.clear()
    for n in range(4):
        made(pool, partial(bytes, 1_000_000), n)
    assert list(pool._kept) == [2, 3]
    made(pool, partial(bytes, 5_000_000), "larger than the shelf")
    assert list(pool._kept) == ["larger than the shelf"]


def test_an_empty_room_keeps_no_picture(closed):
    first = made(closed, partial(exact_scene, SMALL), "key")
    closed.clear()
    assert made(closed, partial(exact_scene, SMALL), "key") is not first


@pytest.mark.slow
def test_a_picture_that_takes_long_holds_up_no_other(monkeypatch, tmp_path):
    monkeypatch.setattr("toydiff.server.render_pool.BUSY_SECONDS", 0.0)
    flag, one = tmp_path / "flag", RenderPool(1)
    one._workers[0].start()
    wait_for(lambda: one.ready)
    try:
        with one.requested(partial(until, flag)) as long:
            one.go_on(long, lambda _: None)
            other = made(one, place)  # a second worker comes
            flag.touch()
            assert wait(one, long) != other
        spare = one._spare
        one._spare_idle_since = -1e9
        one._end_spare(spare)  # as after a while without work
        assert spare._process.poll() is not None
        assert one._spare is not spare and not one._spare.born
        assert made(one, place)
    finally:
        one.close()


@pytest.mark.slow
def test_a_worker_ends_when_the_app_does():
    one = supervisor.WorkerProcess("toydiff.server.render_worker")
    one.start()
    wait_for(lambda: one.born)
    process = one._process
    assert process is not None
    one._closed = True  # no successor
    process.stdin.close()
    assert process.wait(60) == 0


def page_that_waits() -> None:
    import streamlit as st

    from tests.rendered import LOCK
    from toydiff.ui.rendering import exclusive

    with exclusive(LOCK):
        st.markdown(f"in turn, the lock is {'held' if LOCK.locked() else 'free'}")


def test_a_page_waits_its_turn_and_gives_the_lock_back():
    LOCK.refuse(3)
    at = AppTest.from_function(page_that_waits, default_timeout=PATIENCE).run()
    assert [element.value for element in at.markdown] == ["in turn, the lock is held"]
    assert LOCK.refusals == 0
    assert not LOCK.locked()


def test_a_click_on_something_else_gives_the_lock_back(monkeypatch):
    class CalledAwayError(BaseException):
        pass

    @contextmanager
    def spinner(_: str) -> Iterator[None]:
        yield
        raise CalledAwayError

    monkeypatch.setattr("toydiff.ui.rendering.st.spinner", spinner)
    LOCK.refuse(2)
    with pytest.raises(CalledAwayError), exclusive(LOCK):
        pass
    assert LOCK.refusals == 0
    assert not LOCK.locked()


def test_a_picture_that_cannot_be_sent_is_a_sentence(pool):
    with pytest.raises(Failed, match=words("studio.failed")[:30]):
        made(pool, unsendable)
    assert made(pool, place)


def test_a_worker_that_has_nothing_to_do_comes_first(closed):
    class Ready(supervisor.WorkerProcess):
        born = True

    busy, idle = Ready(), Ready()
    closed._workers = [busy, idle]
    closed._at_work[busy] = RenderJob(place)
    assert closed._free() is idle
