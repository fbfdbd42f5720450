"""Simulated students speak to a real server as browsers do. How fast it answers, no test asks."""

import re
import socket
from importlib import import_module

import pytest

from benchmarks import student

classroom = import_module("benchmarks.class")  # a name that no import statement can say


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with classroom.served(tmp_path_factory.mktemp("class") / "server.log") as server:
        yield server


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Nobody thinks for long, and whoever tries everything once is the only one who takes files home."""
    seconds = {"ARRIVAL": 0.5, "SPREAD": (0.02, 0.06), "PAUSE_SECONDS": 0.1, "BARE": 0.1, "STAY": (1.0, 2.0)}
    for name, value in {**seconds, "EMPTY": 1.0, "SAMPLE": 0.5}.items():
        monkeypatch.setattr(classroom, name, value)
    monkeypatch.setattr(student, "ANSWER_SECONDS", 600)  # the machine may be slow and shared
    mix = classroom.MIXES["class"]
    monkeypatch.setitem(classroom.MIXES, "class", {act: act is not classroom.numbers for act in mix})
    monkeypatch.setattr(classroom, "alone", lambda seconds: 100.0)


def report(capsys, server, *options):
    """Every table of the report, as dictionaries of its lines, and what stands below."""
    server_options = ["--url", server.url, "--pid", *map(str, server.pids)]
    assert classroom.main(["--students", "2", *options, *server_options]) == 0
    text = capsys.readouterr().out
    tables = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        head, _, *lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
        assert {len(line) for line in lines} == {len(head)}
        tables.append([dict(zip(head, line, strict=True)) for line in lines])
    return tables, text


LONGER = (2, 8, 32, 128)  # seconds of a class: as long as it takes until everything has been seen


def missing(row):
    """The figures that a class was too short for, but for ticks, for which one has to stay longer."""
    return [name for name, figure in row.items() if "–" in figure and "tick" not in name]


@pytest.mark.slow
def test_a_class_is_answered(server, capsys):
    for seconds in LONGER:
        tables, text = report(capsys, server, "--seconds", str(seconds))
        (row,), acts = tables
        assert row["errors"] == "0", text
        if {"open", "start"} <= {line["act"] for line in acts} and not missing(row):
            break
    assert not missing(row), text
    assert {"open", "start"} <= {line["act"] for line in acts}
    assert int(row["clicks"]) > 0
    assert float(row["MB with 0 / 1 / all"].split(" / ")[2]) > 0


@pytest.mark.slow
def test_students_come_and_go(server, capsys):
    for seconds in LONGER:
        tables, text = report(capsys, server, "--soak", str(seconds / 60), "--mix", "train")
        (row,), _, (soak,) = tables
        assert row["errors"] == "0", text
        if int(soak["sessions"]) > 2 and not missing(soak):
            break
    assert int(soak["sessions"]) > 2, text
    assert not missing(soak)


def test_how_fast_a_bare_loop_is():
    assert classroom.bare(0.01) > 0


def test_no_server_is_said(capsys):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        assert classroom.main(["--url", f"http://127.0.0.1:{nobody.getsockname()[1]}"]) == 1
    assert "refused" in capsys.readouterr().err


def test_the_browser_keeps_what_was_used_lately():
    memory = student._Memory(kept={"page": (0, ""), "film": (0, "a")})
    for _ in range(3):
        memory.finished(["b"], max_age=2)
    assert memory.kept.keys() == {"page", "film"}  # what another part of the page shows is still on screen
    memory.finished(["a"], max_age=2)
    assert memory.kept.keys() == {"page"}
    memory.finished([], max_age=2)
    assert not memory.kept


def test_a_percentile_is_one_of_the_values():
    assert classroom.percentile(range(1, 101), 0.95) == 95
    assert classroom.percentile([3.0], 0.5) == 3.0
