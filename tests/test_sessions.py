"""Who is in the room: a tab finds what it had, and what nobody comes back for is freed."""

import gc
import weakref

import pytest

from tests.waiting import wait_for
from toydiff.server import limits as limits_module
from toydiff.server import sessions
from toydiff.server.limits import Limits
from toydiff.server.sessions import FREED_AFTER_SECONDS, Room
from toydiff.text import words


class Training:
    """Of a training, what a room needs to know."""

    running, step = True, 5


@pytest.fixture
def online(monkeypatch):
    """Who is connected, by Streamlit's id; and no waiting."""
    monkeypatch.setattr(sessions, "PRESENCE_SECONDS", 1e9)
    return set()


@pytest.fixture
def room(online, monkeypatch):
    monkeypatch.setattr(Room, "_watch", lambda self: None)
    return Room(Limits(trainees=2, visitors=3), online.__contains__, lambda: None)


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now[0])
    return now


def test_a_tab_that_is_loaded_again_finds_what_it_had(room, online):
    online.add("a")
    old = room.enter("a")
    old.run = Training()
    online.remove("a")
    room.look()
    online.add("b")
    new = room.enter("b")
    assert not new.trained
    assert room.come_back(old.key, new) is old
    assert (old.visit, old.left, old.run.step) == ("b", None, 5)
    assert room.present() == [old]
    assert room.come_back(new.key, old) is None  # the new one has made room


def test_a_tab_that_is_loaded_again_before_it_has_heard_of_it_finds_what_it_had_too(room, online, clock):
    old = room.enter("a")
    old.run = Training()
    online.add("b")
    new = room.enter("b")
    assert room.come_back(old.key, new) is old
    online |= {"c"}
    assert room.come_back(new.key, room.enter("c")) is old  # the tab knows itself by the key of the one that went
    assert old.visit == "c"
    assert room.present() == [old]
    online.clear()
    for _ in range(2):
        room.look()
        clock[0] += FREED_AFTER_SECONDS + 1
    assert old.run is None
    assert not room._sessions
    assert not room._gone


@pytest.mark.parametrize(("page", "kept"), [("reverse", {"old", "both", "new"}), ("field", {"both", "new"})])
def test_what_was_done_before_the_tab_was_recognized_is_kept(room, page, kept):
    old, new = room.enter("a"), room.enter("b")
    old.run, old.page, new.page = Training(), page, "reverse"
    old.user_data, new.user_data = {"old": 1, "both": 1}, {"both": 2, "new": 2}
    old.kept, new.kept = {"old": 1, "both": 1}, {"both": 2, "new": 2}
    old.shown, new.shown = {"old": 1, "both": 1}, {"both": 2, "new": 2}
    old.teacher = True
    assert room.come_back(old.key, new) is old
    assert old.user_data == {"old": 1, "both": 2, "new": 2}
    assert old.kept == {"old": 1, "both": 1, "new": 2}
    assert old.shown.keys() == kept
    assert old.shown["both"] == 2
    old.turn("reverse")
    assert old.shown.keys() == kept  # it looks at that page already
    assert old.teacher


def test_a_training_that_was_begun_before_the_tab_was_recognized_goes_on(room):
    old, new = room.enter("a"), room.enter("b")
    new.run, old.user_data = Training(), {"own": 1}
    assert room.come_back(old.key, new) is None
    assert new.visit == "b"
    assert new.run is not None
    assert new.user_data == {"own": 1}
    assert room.come_back(old.key, new) is None  # it has made room


def test_a_training_of_before_is_not_given_up_for_one_that_has_just_begun(room):
    old, new = room.enter("a"), room.enter("b")
    old.run, new.run = before, _ = Training(), Training()
    assert room.come_back(old.key, new) is old
    assert old.run is before


def test_a_page_that_the_browser_keeps_for_the_back_button_loses_its_session_and_may_get_it_back(room, online):
    online |= {"a", "b"}  # it was left, and is still connected
    old, new = room.enter("a"), room.enter("b")
    assert room.come_back(old.key, new) is old
    assert old.visit == "b"
    assert room.present() == [old]  # one tab, not two


@pytest.mark.parametrize("key", ["", "nobody", "x" * 10_000])
def test_a_key_that_nobody_has_opens_nothing(room, online, key):
    online.add("a")
    assert room.come_back(key, room.enter("a")) is None


def test_what_nobody_comes_back_for_is_freed(room, online, clock):
    online.add("a")
    session = room.enter("a")
    session.run = run = Training()
    session.races["race"], session.user_data["own"] = Training(), "data"
    gone = weakref.ref(session)
    online.clear()
    room.look()
    clock[0] += FREED_AFTER_SECONDS - 1
    room.look()
    assert session.run is run
    key = session.key
    del session
    gc.collect()
    assert gone() is not None  # Streamlit may have let go of it already
    clock[0] += 2
    room.look()
    gc.collect()
    assert gone() is None
    assert not run.running
    assert room.come_back(key, room.enter("b")) is None


def test_it_is_emptied_even_if_streamlit_holds_it(room, online, clock):
    session = room.enter("a")
    session.run, session.races["race"], session.user_data["own"] = Training(), Training(), "data"
    room.look()
    clock[0] += FREED_AFTER_SECONDS + 1
    room.look()
    assert not list(session.trainings())
    assert not session.user_data


def test_who_comes_back_in_time_is_not_freed_later(room, online, clock):
    session = room.enter("a")
    session.run = Training()
    room.look()
    clock[0] += FREED_AFTER_SECONDS - 1
    online.add("a")  # the same connection, mended
    room.look()
    clock[0] += FREED_AFTER_SECONDS + 1
    room.look()
    assert session.trained


def test_places_for_those_who_train(room, online):
    online |= {"a", "b", "c"}
    a, b, c = (room.enter(name) for name in "abc")
    assert room.sit_down(a)
    assert room.sit_down(a)
    assert room.sit_down(b)
    assert not room.may_train(c)
    assert not room.sit_down(c)
    online.remove("a")
    room.look()
    assert room.sit_down(c)
    online.add("a")
    assert not room.may_train(a)  # it left its place


def test_only_so_many_are_let_in(room, online):
    online |= {*"abcd"}
    sessions = [room.enter(name) for name in "abcd"]
    assert [room.full(session) for session in sessions] == [False, False, False, True]
    online.remove("b")
    assert not any(room.full(session) for session in (sessions[0], *sessions[2:]))


def test_limits_come_from_the_environment():
    found = Limits.from_environment({"TOYDIFF_TRAINEES": " 7 ", "TOYDIFF_TEACHER": "open sesame"})
    assert found == Limits(trainees=7, visitors=14, workers=1, teacher="open sesame")
    assert Limits.from_environment({}) == Limits()
    assert Limits.from_environment({"TOYDIFF_VISITORS": "", "TOYDIFF_WORKERS": "3"}) == Limits(workers=3)


@pytest.mark.parametrize("name", ["TRAINEES", "VISITORS", "WORKERS", "PAINTERS"])
@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "1e3", "٣", "9" * 400, "100000"])
def test_a_limit_that_cannot_be_used_is_named(name, text):
    with pytest.raises(ValueError, match=f"TOYDIFF_{name} must be a whole number"):
        Limits.from_environment({f"TOYDIFF_{name}": text})


def test_a_short_word_of_the_teacher_is_refused():
    with pytest.raises(ValueError, match="8 characters"):
        Limits.from_environment({"TOYDIFF_TEACHER": "sesame"})


def test_defaults_fit_the_machine(monkeypatch):
    monkeypatch.setattr(limits_module, "cores", lambda: 2)
    monkeypatch.setattr(limits_module, "_megabytes", lambda: 16_000.0)
    assert Limits() == Limits(trainees=60, visitors=120)
    monkeypatch.setattr(limits_module, "_megabytes", lambda: 512.0)
    assert Limits().trainees == 21
    assert "environment" in words("limits.number", name="", low=1, high=2)


def test_a_room_looks_and_tidies_by_itself(monkeypatch):
    monkeypatch.setattr(sessions, "PRESENCE_SECONDS", 0.001)
    tidied = []
    room = Room(Limits(trainees=2, visitors=3), lambda _: False, lambda: tidied.append(1))
    mine = room.enter("gone")
    wait_for(lambda: tidied and mine.left is not None)
    monkeypatch.setattr(sessions, "PRESENCE_SECONDS", 1e6)  # its thread sleeps from now on
