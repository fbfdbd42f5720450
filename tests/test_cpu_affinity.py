"""Which process runs on which processor while a class trains."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from toydiff.server import cpu_affinity, live

pytestmark = pytest.mark.skipif(len(cpu_affinity.ALL) < 2, reason="needs Linux and two processors")
TWO = set(sorted(cpu_affinity.ALL)[:2])


@pytest.fixture(autouse=True)
def two(monkeypatch):
    monkeypatch.setattr(cpu_affinity, "ALL", TWO)
    before = os.sched_getaffinity(0)
    yield
    cpu_affinity.put(os.getpid(), before)


@pytest.fixture
def worker():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def of(process: int) -> list[set[int]]:
    """The processors of every thread of a process."""
    return [os.sched_getaffinity(int(thread.name)) for thread in Path(f"/proc/{process}/task").glob("*")]


def test_in_a_crowd_the_worker_has_a_processor_of_its_own(worker):
    done = threading.Event()
    threading.Thread(target=done.wait, daemon=True).start()
    cpu_affinity.arrange(True, worker)
    assert of(worker) == [{max(TWO)}]
    assert len(of(os.getpid())) > 1
    assert all(one == {min(TWO)} for one in of(os.getpid()))
    cpu_affinity.arrange(False, worker)
    assert all(one == TWO for one in of(worker) + of(os.getpid()))
    done.set()


def test_what_is_started_in_a_crowd_may_run_anywhere(worker):
    cpu_affinity.arrange(True, worker)
    link = live.WorkerProcess("tests.nobody")
    link._spawn()
    assert link.pid is not None
    assert all(one == TWO for one in of(link.pid))
    link.close()


def test_without_a_worker_nobody_is_sent_away():
    cpu_affinity.arrange(True, None)
    assert all(one == TWO for one in of(os.getpid()))


def test_who_has_ended_is_no_error(worker):
    os.kill(worker, 9)
    os.waitpid(worker, 0)
    cpu_affinity.arrange(True, worker)


def test_more_processors_are_left_alone(worker, monkeypatch):
    monkeypatch.setattr(cpu_affinity, "ALL", {*TWO, 7})
    cpu_affinity.arrange(True, worker)
    assert all(one == TWO for one in of(worker) + of(os.getpid()))


@pytest.mark.parametrize(("running", "crowd"), [(1, False), (4, False), (5, True), (30, True)])
def test_a_crowd_is_a_few(monkeypatch, running, crowd):
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(live, "load", lambda: SimpleNamespace(running=running))
        patch.setattr(live, "time", SimpleNamespace(sleep=lambda seconds: seen and sys.exit()))
        patch.setattr(cpu_affinity, "arrange", lambda *what: seen.append(what))
        with pytest.raises(SystemExit):
            live._share(SimpleNamespace(pid=3))
    assert seen == [(crowd, 3)]
