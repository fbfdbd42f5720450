"""Pictures made in another process: the same ones, one for all who ask, and what goes wrong is a sentence."""

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest
import torch
from streamlit.testing.v1 import AppTest

from tests.painted import (
    LOCK,
    SMALL,
    die,
    die_again,
    exact_scene,
    noted,
    noted_step_by_step,
    place,
    slowly,
    step_by_step,
    unsendable,
    until,
    worked,
    wrong,
)
from tests.test_live import POSIX
from tests.waiting import PATIENCE, wait_for
from toydiff.data import user_data
from toydiff.diffusion.exact import cloud
from toydiff.draw.costs import Bench
from toydiff.draw.scenes import reverse_scene
from toydiff.experiments.experiment import Experiment
from toydiff.server import worker_process
from toydiff.server.snapshots import Failed
from toydiff.text import words
from toydiff.ui.studio import Order, Studio, in_turn


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    studio = Studio(1)
    for one in studio._links:
        one.start()
    wait_for(lambda: studio.open)
    yield studio
    studio.close()


@pytest.fixture
def closed() -> Studio:
    """No painter is there, and none will come."""
    return Studio(1)


def wait(studio: Studio, order: Order, tell: Callable[[float], object] = lambda _: None) -> object:
    wait_for(lambda: studio.go_on(order, tell) or order.picture.done(), "the picture")
    return order.picture.result()


def made(studio: Studio, make: Callable[[], object], key: object = None) -> object:
    with studio.ordered(make, key) as order:
        return wait(studio, order)


def test_a_painter_is_another_process(studio, closed):
    assert made(studio, place) != os.getpid()
    assert made(closed, place) == os.getpid()  # until there is one


@pytest.mark.parametrize("network", [False, True])
def test_pictures_of_both_are_the_same(studio, network):
    model = SMALL.model() if network else cloud(SMALL.data(), SMALL.noise_schedule())
    here, there = reverse_scene(SMALL, model, "x"), made(studio, partial(reverse_scene, SMALL, model, "x"))
    assert there.stamp == here.stamp
    for a, b in zip(here.panels, there.panels, strict=True):
        assert a.notes == b.notes
        assert torch.equal(a.trajectory.x, b.trajectory.x) and torch.equal(a.trajectory.mean, b.trajectory.mean)


def test_one_picture_for_all_who_ask(studio, tmp_path):
    first, second = (made(studio, partial(exact_scene, SMALL), "key") for _ in range(2))
    assert first is second
    assert made(studio, partial(exact_scene, SMALL)) is not first
    flag = tmp_path / "flag"
    with studio.ordered(partial(until, flag), "both") as one, studio.ordered(place, "both") as other:
        assert one is other
        flag.touch()
        assert wait(studio, one) == wait(studio, other)


def test_the_line_is_one_and_who_leaves_it_is_out(studio, tmp_path):
    flag = tmp_path / "flag"
    with studio.ordered(partial(until, flag)) as busy:
        studio.go_on(busy, lambda _: None)
        with studio.ordered(place) as later:
            studio.go_on(later, lambda _: None)
            with studio.ordered(place) as last:
                assert [studio.ahead(order) for order in (busy, later, last)] == [0, 0, 1]
                assert later.asked is last.asked is None
            assert list(studio._line) == [later]
        assert not studio._line
        flag.touch()
        wait(studio, busy)
    assert later.asked is None
    assert not later.picture.done()


def test_whoever_left_may_come_again(studio, tmp_path):
    flag = tmp_path / "flag"
    with studio.ordered(partial(until, flag)) as busy:
        studio.go_on(busy, lambda _: None)
        with studio.ordered(place, "again") as order:
            pass
        assert not studio._line
        flag.touch()
        assert made(studio, place, "again") == order.picture.result()


def test_how_much_is_done_is_told(studio, closed):
    shares: list[float] = []
    with studio.ordered(partial(slowly, 4, 0.01)) as order:
        wait(studio, order, shares.append)
    assert order.asked is not None and order.asked.share == 1
    assert not shares  # by the painter, to whoever looks
    with closed.ordered(partial(slowly, 4, 0)) as order:
        assert wait(closed, order, shares.append) == 4
    assert shares == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("which", ["studio", "closed"])
def test_a_sentence_of_the_picture_comes_through(request, which):
    with pytest.raises(ValueError, match="two columns"):
        made(request.getfixturevalue(which), partial(wrong, ValueError("two columns")))


def test_what_went_wrong_is_tried_again_when_somebody_asks_again(studio):
    for _ in range(2):
        with pytest.raises(ValueError, match="once"):
            made(studio, partial(wrong, ValueError("once")), "wrong")
    assert made(studio, place, "wrong")


@pytest.mark.parametrize(("error", "key"), [(MemoryError(), "no_memory"), (ZeroDivisionError(), "failed")])
def test_an_error_is_a_sentence_and_the_painter_lives(studio, error, key):
    before = made(studio, place)
    with pytest.raises(Failed, match=words(f"studio.{key}")[:30]):
        made(studio, partial(wrong, error))
    assert made(studio, place) == before


@POSIX
def test_a_painter_that_is_killed_has_a_successor_that_paints_it(studio, tmp_path):
    before = made(studio, place)
    assert made(studio, partial(die, tmp_path / "flag")) not in (before, os.getpid())


@pytest.mark.slow
@POSIX
def test_a_picture_that_kills_painters_is_given_up(studio):
    with pytest.raises(Failed, match="stopped twice"):
        made(studio, die_again)
    wait_for(lambda: studio.open)
    assert made(studio, place) != os.getpid()


def test_data_of_somebodys_own_is_brought_to_the_painter(studio):
    one = user_data.keep("brought", torch.randn(200, 2, generator=torch.Generator().manual_seed(5)).double())
    scene = made(studio, partial(exact_scene, Experiment(dataset=one.key, T=10, particles=16, points=150)))
    assert "brought" in scene.stamp
    assert torch.equal(scene.data, exact_scene(Experiment(dataset=one.key, T=10, particles=16, points=150)).data)


def test_what_a_painter_has_to_unpack_may_be_of_somebodys_own(studio):
    one = user_data.keep("a bench", torch.randn(200, 2, generator=torch.Generator().manual_seed(6)).double())
    experiment = Experiment(dataset=one.key, T=10, points=150)
    bench = Bench(experiment, experiment.exact())
    assert made(studio, partial(bench.measure, "ddim", 2))._replace(seconds=0) == bench.measure("ddim", 2)._replace(
        seconds=0
    )


def test_data_that_is_gone_ends_the_waiting(studio, monkeypatch):
    one = user_data.keep("gone", torch.randn(200, 2, generator=torch.Generator().manual_seed(7)).double())
    experiment = Experiment(dataset=one.key, T=10, points=150)
    del one  # its tab was closed
    for _ in range(2):
        with pytest.raises(user_data.Gone):
            made(studio, partial(exact_scene, experiment), experiment)


def test_what_cannot_be_sent_is_an_error_of_whoever_asks(studio):
    for _ in range(2):
        with pytest.raises((AttributeError, TypeError, pickle.PicklingError)):
            made(studio, lambda: 1, "no name")
    assert made(studio, place)


def test_what_is_made_keeps_nothing_of_what_it_was_made_of(studio, closed):
    for where in (studio, closed):
        with where.ordered(place) as order:
            wait(where, order)
        assert order.make is None
        assert order.asked is order.picture


def test_whoever_comes_while_the_maker_is_called_away_has_it_made(closed):
    class CalledAwayError(BaseException):
        pass

    def away(_: float) -> None:
        raise CalledAwayError

    with closed.ordered(partial(slowly, 3, 0), "key") as first:
        with pytest.raises(CalledAwayError):
            closed.go_on(first, away)
        with closed.ordered(partial(slowly, 3, 0), "key") as second:
            assert wait(closed, second) == 3


def test_a_picture_that_has_cost_the_last_painter_is_given_up(closed, monkeypatch):
    monkeypatch.setattr("toydiff.ui.studio.GIVE_UP", 0.0)
    with closed.ordered(place) as order:
        order.attempts, order.since = 1, 0.0
        with pytest.raises(Failed, match="stopped twice"):
            wait(closed, order)


def test_data_that_nobody_has_is_a_sentence(studio):
    with pytest.raises(user_data.Gone):
        made(studio, partial(user_data.find, "own-0123456789abcdef"))


def test_many_ask_at_once(studio):
    found: list[object] = []
    askers = [
        threading.Thread(target=lambda n=n: found.append(made(studio, partial(max, n, 0), n % 5))) for n in range(40)
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(120)
    assert len(found) == 40
    assert not studio._line
    assert not any(studio._at_work.values())


def test_a_film_lets_others_go_between(studio, tmp_path):
    flag = tmp_path / "flag"
    with studio.ordered(partial(step_by_step, flag)) as film, studio.ordered(partial(step_by_step, flag)) as other:
        studio.go_on(film, lambda _: None)
        with studio.ordered(place) as picture:
            assert [studio.ahead(order) for order in (film, other, picture)] == [0, 0, 0]
            assert wait(studio, picture)
            assert not film.picture.done()
            assert studio._line == [other]  # of two films, one after the other
        flag.touch()
        assert wait(studio, film) == wait(studio, other)


def test_a_film_is_begun_however_many_others_wait(studio, tmp_path):
    flag, book = tmp_path / "flag", tmp_path / "book"
    with ExitStack() as stack:
        first = stack.enter_context(studio.ordered(partial(until, flag)))
        others = [stack.enter_context(studio.ordered(partial(noted, book, n))) for n in range(9)]
        studio.go_on(first, lambda _: None)
        film = stack.enter_context(studio.ordered(partial(noted_step_by_step, book, "film")))
        studio.go_on(film, lambda _: None)
        flag.touch()
        for order in (film, *others):
            wait(studio, order)
    made = book.read_text().split()
    assert made.index("film") < made.index("8")


def test_some_time_is_left_for_a_film(studio, tmp_path):
    flag, seconds = tmp_path / "flag", []
    with studio.ordered(partial(worked, flag)) as film:
        studio.go_on(film, lambda _: None)
        for _ in range(4):
            began = time.monotonic()
            made(studio, partial(time.sleep, 0.2))
            seconds.append(time.monotonic() - began)
        flag.touch()
        assert wait(studio, film) > 0.08  # seconds at work on it, while the others were made
    assert min(seconds[1:]) > 0.22


def test_whoever_paints_in_place_and_is_called_away_leaves_it_to_the_next(closed):
    class CalledAwayError(BaseException):
        pass

    def away(_: float) -> None:
        raise CalledAwayError

    with closed.ordered(partial(slowly, 3, 0), "key") as first, closed.ordered(partial(slowly, 3, 0), "key") as second:
        with pytest.raises(CalledAwayError):
            closed.go_on(first, away)
        assert wait(closed, second) == 3


def test_no_more_is_kept_than_the_shelf_holds(closed, monkeypatch):
    monkeypatch.setattr("toydiff.ui.studio.SHELF", 3)
    for n in range(5):
        made(closed, partial(max, n, 0), n)
    assert list(closed._shelf) == [2, 3, 4]


@pytest.mark.parametrize("which", ["studio", "closed"])
def test_few_large_pictures_fill_the_shelf(which, request, monkeypatch):
    studio = request.getfixturevalue(which)
    monkeypatch.setattr("toydiff.ui.studio.ROOM", 2_500_000)
    studio.clear()
    for n in range(4):
        made(studio, partial(bytes, 1_000_000), n)
    assert list(studio._shelf) == [2, 3]
    made(studio, partial(bytes, 5_000_000), "larger than the shelf")
    assert list(studio._shelf) == ["larger than the shelf"]


def test_an_empty_room_keeps_no_picture(closed):
    first = made(closed, partial(exact_scene, SMALL), "key")
    closed.clear()
    assert made(closed, partial(exact_scene, SMALL), "key") is not first


@pytest.mark.slow
def test_a_picture_that_takes_long_holds_up_no_other(monkeypatch, tmp_path):
    monkeypatch.setattr("toydiff.ui.studio.LONG", 0.0)
    flag, one = tmp_path / "flag", Studio(1)
    one._links[0].start()
    wait_for(lambda: one.open)
    try:
        with one.ordered(partial(until, flag)) as long:
            one.go_on(long, lambda _: None)
            other = made(one, place)  # a second painter comes
            flag.touch()
            assert wait(one, long) != other
        reserve = one._reserve
        one._rested = -1e9
        one._dismiss(reserve)  # as after a while without work
        assert reserve._process.poll() is not None
        assert one._reserve is not reserve and not one._reserve.born
        assert made(one, place)
    finally:
        one.close()


@pytest.mark.slow
def test_a_painter_ends_when_the_app_does():
    one = worker_process.Link("toydiff.server.render_worker")
    one.start()
    wait_for(lambda: one.born)
    process = one._process
    assert process is not None
    one._closed = True  # no successor
    process.stdin.close()
    assert process.wait(60) == 0


def page_that_waits() -> None:
    import streamlit as st

    from tests.painted import LOCK
    from toydiff.ui.studio import in_turn

    with in_turn(LOCK):
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

    monkeypatch.setattr("toydiff.ui.studio.st.spinner", spinner)
    LOCK.refuse(2)
    with pytest.raises(CalledAwayError), in_turn(LOCK):
        pass
    assert LOCK.refusals == 0
    assert not LOCK.locked()


def test_a_picture_that_cannot_be_sent_is_a_sentence_and_not_the_films(studio, tmp_path):
    flag = tmp_path / "flag"
    with studio.ordered(partial(step_by_step, flag)) as film:
        studio.go_on(film, lambda _: None)
        with pytest.raises(Failed, match=words("studio.failed")[:30]):
            made(studio, unsendable)
        assert made(studio, place)
        flag.touch()
        assert wait(studio, film)


def test_a_painter_that_has_nothing_to_do_comes_first(closed):
    class Ready(worker_process.Link):
        born = True

    busy, idle = Ready(), Ready()
    closed._links = [busy, idle]
    closed._at_work[busy] = [Order(place)]
    assert closed._free(Order(partial(slowly, 1, 0))) is idle
