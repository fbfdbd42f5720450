"""A tab that is loaded again, in a real browser: it finds its training, and a duplicate of it does not. And a training
whose process is killed goes on."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from toydiff.text import words

pytestmark = pytest.mark.browser


def steps(view):
    """What the page says of its training."""
    metric = view.page.get_by_test_id("stMetric").filter(has_text=words("train.step")).first
    return int(metric.get_by_test_id("stMetricValue").inner_text().replace(",", ""))


def says_it_is_gone(view):
    sentence = words("room.lost").split("**")[1]
    return sentence in " ".join(view.page.get_by_test_id("stAlert").all_inner_texts())


def trained(visit):
    """A page whose training has made steps, and is paused."""
    view = visit("train")
    view.press(words("train.start"))
    view.until(lambda: steps(view) > 20, "training")
    view.press(words("train.pause"))
    view.until(lambda: view.at_rest and view.page.get_by_role("button", name=words("train.resume")).count(), "a pause")
    last = -1
    while last != (last := steps(view)):  # a busy machine may still be at the last ones
        view.page.wait_for_timeout(1000)
    return view


def test_a_page_that_is_loaded_again_finds_its_training(visit):
    view = trained(visit)
    before = steps(view)
    view.page.reload()
    view.ready()
    view.until(lambda: steps(view) == before, f"{before} steps")
    view.page.reload()  # and again
    view.ready()
    view.until(lambda: steps(view) == before, f"{before} steps")
    assert not says_it_is_gone(view)
    assert not view.errors


def test_a_page_that_is_loaded_again_and_again_finds_its_training(visit):
    view = trained(visit)
    before = steps(view)
    for moment in (0, 0, 100, 300, 500, 700):  # before the tab has asked for what it had, while it does, and after
        view.page.reload()
        view.page.get_by_test_id("stMetric").first.wait_for()
        view.page.wait_for_timeout(moment)
    view.ready()
    view.until(lambda: steps(view) == before, f"{before} steps")
    assert not says_it_is_gone(view)


def test_who_turns_the_page_before_the_tab_has_asked_for_its_training_finds_it(visit):
    view = trained(visit)
    before = steps(view)
    view.page.add_init_script(
        """const soon = window.setTimeout;
        window.setTimeout = (act, ms, ...rest) => soon(act, String(act).includes('"before"') ? 3000 : ms, ...rest);"""
    )
    view.page.reload()
    link = view.page.get_by_test_id("stSidebar").get_by_role("link", name=words("nav.own"))
    link.click()
    view.until(lambda: view.page.url.split("?")[0].endswith("/own"), "the other page")
    view.page.wait_for_timeout(4000)
    view.go(words("nav.train"))
    view.until(lambda: steps(view) == before, f"{before} steps")
    assert not says_it_is_gone(view)


# Of what this tab sends, the message in which it asks for what it had is lost, as it is when the page is loaded again
# at that very moment.
MUTE = """{
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    const asks = sessionStorage.mute && new TextDecoder("latin1").decode(data).includes('"before"');
    if (asks) sessionStorage.mute = "asked";
    else send.call(this, data);
  };
}"""


def test_a_page_that_is_loaded_again_while_it_asks_for_its_training_finds_it(visit):
    view = trained(visit)
    before = steps(view)
    view.page.add_init_script(MUTE)
    view.page.evaluate("sessionStorage.mute = 'soon'")
    view.page.reload()
    view.until(lambda: view.page.evaluate("sessionStorage.mute") == "asked", "a page that asks")
    view.page.evaluate("delete sessionStorage.mute")
    view.page.reload()
    view.ready()
    view.until(lambda: steps(view) == before, f"{before} steps")
    assert not says_it_is_gone(view)


def test_what_is_wrong_with_a_link_is_said_in_a_tab_that_was_there_before(visit):
    view = trained(visit)
    view.page.goto(view.page.url.split("?")[0] + "?T=5")
    view.ready()
    view.drawn(60)
    view.until(lambda: view.at_rest, "the page")
    assert words("fields.T") in " ".join(view.page.get_by_test_id("stAlert").all_inner_texts())


def test_it_goes_on_training(visit):
    view = trained(visit)
    before = steps(view)
    view.press(words("train.resume"))
    view.until(lambda: steps(view) > before, "more steps")
    before = steps(view)
    view.page.reload()
    view.ready()
    view.until(lambda: steps(view) > before, "still more steps")
    view.press(words("train.pause"))


def test_a_duplicated_tab_is_a_session_of_its_own(visit):
    view = trained(visit)
    before = steps(view)
    kept = view.page.evaluate("sessionStorage.getItem('toydiff-session')")
    other = visit("forward")
    other.page.evaluate("kept => sessionStorage.setItem('toydiff-session', kept)", kept)  # as a browser copies it
    other.page.goto(view.page.url)
    other.ready()
    other.until(lambda: other.page.evaluate("sessionStorage.getItem('toydiff-session')") != kept, "a key of its own")
    other.drawn()
    assert steps(other) == 0
    view.page.reload()
    view.ready()
    view.until(lambda: steps(view) == before, f"{before} steps")


def test_after_the_server_was_started_again_the_page_says_so(visit):
    view = trained(visit)
    view.page.evaluate(
        "sessionStorage.setItem('toydiff-session', JSON.stringify({key: 'of another server', trained: true}))"
    )
    view.page.reload()
    view.ready()
    view.until(lambda: says_it_is_gone(view), "a sentence")
    view.press(words("train.start"))
    view.until(lambda: steps(view) > 0 and not says_it_is_gone(view), "the sentence to go")
    view.press(words("train.pause"))
    assert not view.errors


def test_rubbish_in_the_storage_harms_nobody(visit):
    view = visit("forward")
    for rubbish in ("", "{", "[]", "null", '{"key": 3}', '{"key": ""}', '{"key": {"a": 1}}'):
        view.page.evaluate("rubbish => sessionStorage.setItem('toydiff-session', rubbish)", rubbish)
        view.page.reload()
        view.ready()
        view.drawn()
        assert not says_it_is_gone(view), rubbish
        assert not view.errors, rubbish


def workers(server):
    """The processes that train for this server."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # that one has just ended
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == server.process.pid and b"toydiff.ui.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find the process that trains")
def test_after_the_process_that_trains_was_killed_the_page_says_so_and_goes_on(visit, server):
    view = visit("train")
    view.press(words("train.start"))
    view.until(lambda: steps(view) > 20, "training")
    (old,) = workers(server)
    os.kill(old, signal.SIGKILL)
    sentence = words("live.lost").split("{")[0].strip()
    view.until(lambda: sentence in " ".join(view.page.get_by_test_id("stAlert").all_inner_texts()), "a sentence", 120)
    back = steps(view)
    view.until(lambda: steps(view) > back, "more steps", 120)
    assert old not in workers(server)
    view.press(words("train.pause"))
    assert not view.errors
