"""A tab that is loaded again, in a real browser: it finds its training, and a duplicate of it does not. And a training
whose process is killed goes on."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.browser.view import FAST, View, Visitors
from toydiff.text import words

pytestmark = pytest.mark.browser

# When a page asks for what its tab had, decides a test, which puts into the tab's storage one of:
# held: it wants to ask, and waits for `window.ask`; mute: it asks, and its message is lost, as it is when the page is
# loaded again at that very moment.
ASKING = """{
  const [soon, send] = [window.setTimeout, WebSocket.prototype.send];
  window.setTimeout = (act, ms, ...rest) =>
    sessionStorage.asking === "held" && String(act).includes('"before"')
      ? void (window.ask = act) : soon(act, ms, ...rest);
  WebSocket.prototype.send = function (data) {
    const asks = sessionStorage.asking === "mute" && new TextDecoder("latin1").decode(data).includes('"before"');
    if (asks) window.asked = true;
    else send.call(this, data);
  };
}"""


@pytest.fixture(scope="module")
def tab(context, server) -> Iterator[View]:
    """A page whose training has made some steps, and is paused. Tests leave it so."""
    visitors = Visitors(context, server)
    yield visitors("train", FAST, script=ASKING).train(20).pause()
    visitors.leave()


def asking(view: View, how: str) -> None:
    view.page.evaluate("how => how ? (sessionStorage.asking = how) : delete sessionStorage.asking", how)


def seen(view: View, name: str) -> None:
    view.until(lambda: view.page.evaluate(f"Boolean(window.{name})"), name)


def says_it_is_gone(view: View) -> bool:
    return words("room.lost").split("**")[1] in view.alerts


def finds_it(view: View, before: int) -> None:
    view.ready()
    view.until(lambda: view.step == before, f"{before} steps")
    assert not says_it_is_gone(view)


def test_a_page_that_is_loaded_again_and_once_more_finds_its_training(tab):
    before = tab.step
    for _ in range(2):
        tab.page.reload()
        finds_it(tab, before)
    tab.healthy()


@pytest.mark.slow
def test_a_page_that_is_loaded_again_at_any_moment_finds_its_training(tab):
    """Before the tab asks for what it had, while it does, and when it has asked."""
    before = tab.step
    for how, what in (("held", "ask"), ("held", "ask"), ("mute", "asked"), ("held", "ask"), ("mute", "asked")):
        asking(tab, how)
        tab.page.reload()
        seen(tab, what)
    asking(tab, "")
    tab.page.reload()
    finds_it(tab, before)


@pytest.mark.slow
def test_who_turns_the_page_before_the_tab_has_asked_for_its_training_finds_it(tab):
    before = tab.step
    asking(tab, "held")
    tab.page.reload()
    seen(tab, "ask")
    tab.page.evaluate("window.late = window.ask; delete window.ask")
    tab.go("own")
    seen(tab, "ask")  # this page wants to ask as well
    tab.page.evaluate("window.late(); window.ask()")
    asking(tab, "")
    tab.go("train")
    finds_it(tab, before)


def test_a_tab_does_not_ask_while_somebody_presses_something(tab):
    """The click would be lost."""
    before = tab.step
    asking(tab, "held")
    tab.page.reload()
    seen(tab, "ask")
    puts_it_off = """(event) => {
        const { ask } = window;
        delete window.ask;
        if (event) document.body.dispatchEvent(new Event(event, { bubbles: true }));
        ask();
        return Boolean(window.ask);
    }"""
    assert [tab.page.evaluate(puts_it_off, event) for event in ("pointerdown", "keydown")] == [True, True]
    asking(tab, "")
    tab.page.evaluate("window.ask()")  # it goes on by itself
    finds_it(tab, before)


@pytest.mark.slow
def test_what_is_wrong_with_a_link_is_said_in_a_tab_that_was_there_before(tab):
    before, usual = tab.step, tab.page.url
    tab.page.goto(usual.split("?")[0] + "?T=5")
    tab.ready()
    tab.drawn(60)
    tab.until(lambda: tab.at_rest, "the page")
    assert words("fields.T") in tab.alerts
    tab.page.goto(usual)
    finds_it(tab, before)


@pytest.mark.slow
def test_a_duplicated_tab_is_a_session_of_its_own(tab, visit):
    before = tab.step
    kept = tab.page.evaluate("sessionStorage.getItem('toydiff-session')")
    other = visit("forward", FAST)
    other.page.evaluate("kept => sessionStorage.setItem('toydiff-session', kept)", kept)  # as a browser copies it
    other.page.goto(tab.page.url)
    other.ready()
    other.until(lambda: other.page.evaluate("sessionStorage.getItem('toydiff-session')") != kept, "a key of its own")
    other.drawn()
    assert other.step == 0
    tab.page.reload()
    finds_it(tab, before)


@pytest.mark.slow
def test_it_goes_on_training(tab):
    before = tab.step
    tab.press(words("train.resume"))
    tab.until(lambda: tab.step > before, "more steps")
    before = tab.step
    tab.page.reload()
    tab.ready()
    tab.until(lambda: tab.step > before, "still more steps")
    tab.pause()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be refused")
def test_after_the_process_that_trains_was_killed_the_page_says_so_and_goes_on(tab, server):
    tab.press(words("train.resume"))
    now = tab.step
    tab.until(lambda: tab.step > now, "training")
    (old,) = server.workers()
    os.kill(old, signal.SIGKILL)
    tab.until(lambda: words("live.lost").split("{")[0].strip() in tab.alerts, "a sentence")
    back = tab.step
    tab.until(lambda: tab.step > back, "more steps")
    assert old not in server.workers()
    tab.pause()
    tab.healthy()


@pytest.mark.slow
def test_after_the_server_was_started_again_the_page_says_so(tab):
    """The last test with this tab: its training is lost."""
    tab.page.evaluate(
        "sessionStorage.setItem('toydiff-session', JSON.stringify({key: 'of another server', trained: true}))"
    )
    tab.page.reload()
    tab.ready()
    tab.until(lambda: says_it_is_gone(tab), "a sentence")
    tab.train()
    tab.until(lambda: not says_it_is_gone(tab), "the sentence to go")
    tab.pause()
    tab.healthy()


@pytest.mark.slow
def test_rubbish_in_the_storage_harms_nobody(visit):
    view = visit("forward", FAST)
    for rubbish in ("{", '{"key": {"a": 1}}'):
        view.page.evaluate("rubbish => sessionStorage.setItem('toydiff-session', rubbish)", rubbish)
        view.page.reload()
        view.ready()
        view.drawn(5)
        assert not says_it_is_gone(view), rubbish
        view.healthy()
