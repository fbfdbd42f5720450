"""A whole class at one server: python -m benchmarks.class [--students 30] [--seconds 60] [--mix class] [--pace 5]

The students speak to a real server over real websockets, all of them from this one process. A click is over when its
script has finished; only then does a student think about the next one. What a browser loads once, they do not load.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import ceil, inf, isnan, nan
from pathlib import Path
from random import Random
from statistics import mean, median
from time import perf_counter

from streamlit.proto.Button_pb2 import Button
from streamlit.proto.ButtonGroup_pb2 import ButtonGroup
from streamlit.proto.DownloadButton_pb2 import DownloadButton
from streamlit.proto.FileUploader_pb2 import FileUploader
from streamlit.proto.Selectbox_pb2 import Selectbox
from streamlit.proto.Slider_pb2 import Slider
from websockets.exceptions import WebSocketException

from benchmarks.server import REPOSITORY, Server, served
from benchmarks.student import TICK, GoneError, Notes, Progress, Student
from toydiff.text import words

ARRIVAL = 10.0  # seconds in which the class arrives
PACE = 5.0  # seconds between two acts, on average
SPREAD = (0.4, 1.6)  # the least and the most, as a share of it
PAUSE_SECONDS = 1.0  # seconds that a training pauses
MOMENT = 10.0  # seconds that somebody looks for a file that should be there
BARE = 4.0  # seconds of training without an app
STAY = (60.0, 240.0)  # seconds that a student of the soak stays
EMPTY = 150.0  # seconds after the last one has left: the server keeps a session for two minutes
AGAIN = 1.0  # seconds until somebody who was refused tries again
REFUSALS = (OSError, WebSocketException, GoneError)
SAMPLE = 10.0  # seconds between two looks at the memory in a soak
OPEN = ("home", "forward", "train", "reverse", "field")  # the pages that a class walks through
CLICKS = ("start", "pause", "go on", "control", "back", "page")  # the acts that count as clicks; files are apart
ROWS, DIFFERENT, CELLS, LETTERS = 1_000_000, 5, 3, 15  # of the worst table
NPZ = b"PK"  # what such a file begins with


async def start(student: Student, rng: Random) -> None:
    """Start the training, unless it runs."""
    await _turn(student, "train")
    if not any(student.controls(words("train.pause"))):
        await _press(student, rng, "train", start="start", resume="go on")


async def pause(student: Student, rng: Random) -> None:
    """Pause the training, look at it, and go on."""
    await start(student, rng)
    await _press(student, rng, "train", pause="pause")
    await asyncio.sleep(PAUSE_SECONDS)
    await start(student, rng)


async def doubt(student: Student, rng: Random) -> None:
    """Change a setting of the training, which runs on, and take it back."""
    await _turn(student, "train")
    await _change(student, rng)
    await asyncio.sleep(PACE * rng.uniform(*SPREAD))
    if any(student.controls(words("train.back"))):  # not offered where nothing has been trained yet
        await _press(student, rng, "train", back="back")


async def change(student: Student, rng: Random) -> None:
    """Move a slider, or choose from a list, where the three ways back are compared."""
    await _turn(student, "reverse")
    await _change(student, rng)


async def turn(student: Student, rng: Random) -> None:
    """Go to another page."""
    await _turn(student, rng.choice([page for page in OPEN if page != student.page]))


async def film(student: Student, rng: Random) -> None:
    """Take a GIF or a strip home. The student's own browser makes it: nobody here has anything to do with it."""


async def numbers(student: Student, rng: Random) -> None:
    """Take the numbers home."""
    await _press(student, rng, "export", numbers="make numbers")
    await _download(student, rng)


Act = Callable[[Student, Random], Awaitable[None]]
MIXES: dict[str, dict[Act, float]] = {
    "train": {doubt: 4, pause: 1},  # everybody trains all the time
    "class": {pause: 2, change: 4, turn: 3, film: 2.5, numbers: 1},
}


async def upload(student: Student, content: bytes) -> None:
    """Bring a table as data of one's own."""
    ways = [control for control in student.controls(words("own.way")) if isinstance(control, ButtonGroup)]
    if ways and not any(isinstance(control, FileUploader) for control in student.controls()):
        await student.choose(ways[0], words("own.file"))
    places = [control for control in student.controls() if isinstance(control, FileUploader)]
    if places:
        await student.upload(places[0], "worst.csv", content, "upload")
    else:
        _missing(student, "a place for a file")
        await asyncio.sleep(AGAIN)


def worst() -> bytes:
    """The table that takes longest of those that are not refused at once: as many rows, cells and bytes as there may
    be."""
    rows = [",".join(f"{-(k + n + math.pi):.12f}"[:LETTERS] for n in range(CELLS)) for k in range(DIFFERENT)]
    return "".join(f"{row}\n" for row in rows).encode() * (ROWS // DIFFERENT)


async def _turn(student: Student, page: str, act: str = "page") -> None:
    if page not in student.pages:
        _missing(student, page)
    elif page != student.page:
        await student.turn(page, act)


async def _press(student: Student, rng: Random, section: str, **acts: str) -> None:
    """One of the buttons that are there, of those that are called by these words of a section."""
    found = [
        (button, act)
        for word, act in acts.items()
        for button in student.controls(words(f"{section}.{word}"))
        if isinstance(button, Button)
    ]
    if found:
        await student.press(*rng.choice(found))
    else:
        _missing(student, " or ".join(acts))


async def _change(student: Student, rng: Random) -> None:
    controls = [control for control in student.controls() if isinstance(control, Slider | Selectbox)]
    controls = [control for control in controls if len(control.options) > 1]
    if not controls:
        _missing(student, "controls")
        return
    control = rng.choice(controls)
    options, value = list(control.options), student.value(control)
    if isinstance(control, Slider):  # one stop to either side
        at = options.index(value)
        options = options[max(0, at - 1) : at + 2]
    await student.choose(control, rng.choice([option for option in options if option != value]))


def _missing(student: Student, what: str) -> None:
    student.notes.errors["missing", f"{what} on {student.page}"] += 1


async def _download(student: Student, rng: Random) -> None:
    """Numbers that have been made, or will be there in a moment."""
    begins, end = words("export.save_file", kind="NPZ", size="").split("(")[0], perf_counter() + MOMENT
    found: list[DownloadButton] = []
    while not found and perf_counter() < end:
        buttons = [button for button in student.controls() if isinstance(button, DownloadButton)]
        found = [button for button in buttons if button.label.startswith(begins)]
        if not found:
            await asyncio.sleep(PAUSE_SECONDS / 10)
    try:
        content = await student.download(rng.choice(found), "numbers") if found else b""
    except OSError as error:
        student.notes.errors["export", repr(error)] += 1
        return
    if content.startswith(NPZ):
        student.notes.files["numbers"] += 1
    else:
        student.notes.errors["export", repr(content[:20])] += 1


def bare(seconds: float) -> float:
    """Training steps per second of the app's usual network with nothing around it, on one thread."""
    import torch  # only here: the students need none of it

    from toydiff.experiments.experiment import Experiment

    torch.set_num_threads(1)
    trainer = Experiment().trainer()
    trainer.advance(100)  # warm up
    began, first = perf_counter(), trainer.step
    while perf_counter() - began < seconds:
        trainer.advance(10)
    return (trainer.step - first) / (perf_counter() - began)


def alone(seconds: float) -> float:
    """The same in a fresh process."""
    code = f"from importlib import import_module; print(import_module('benchmarks.class').bare({seconds}))"
    return float(
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout
    )


@dataclass
class Class:
    """Who comes, what they do and for how long, and what was seen of it."""

    students: int
    seconds: float
    mix: str = "class"
    seed: int = 0
    soak: bool = False
    uploads: bool = False  # by one more, of the worst file, again and again
    pace: float = PACE
    bare: Sequence[float] = (nan,)  # steps per second, before and after
    notes: Notes = field(default_factory=Notes)
    sessions: list[tuple[Progress, float]] = field(default_factory=list)  # the training, and seconds in class
    memory: list[tuple[float, float]] = field(default_factory=list)  # seconds since the beginning, MB
    empty: float = nan  # MB before anybody came
    one: float = nan  # with one student, who has tried everything once
    full: float = nan  # at the end, with everybody
    after: float = nan  # after everybody has left
    client: float = nan  # cores that the students themselves keep busy
    server: float = nan  # cores that the server keeps busy
    lag: float = nan  # seconds by which the students themselves are late, the 95th percentile

    async def attend(self, server: Server) -> None:
        """The class, from the first student to the last."""
        self.empty = server.weigh()
        first = await self._first(server)
        self.one = server.weigh()
        began, cpu, own = perf_counter(), server.cpu(), time.process_time()
        end, late = began + self.seconds, list[float]()
        first.notes, first.progress = self.notes, Progress(until=end)  # a cold server is not what is measured
        watching = [asyncio.create_task(self._watch(server, began)), asyncio.create_task(_lag(late))]
        seats = [self._seat(server, number, end, None if number else first) for number in range(self.students)]
        if self.uploads:
            seats.append(self._uploader(server, end))
        everybody = asyncio.gather(*seats)
        await asyncio.wait([everybody], timeout=end - perf_counter())
        self.full, spent = server.weigh(), perf_counter() - began
        self.client, self.server = (time.process_time() - own) / spent, (server.cpu() - cpu) / spent
        self.lag = percentile(late, 0.95)
        await everybody
        if self.soak:
            await asyncio.sleep(EMPTY)
            self.after = server.weigh()
        for task in watching:
            task.cancel()
        if tracebacks := server.tracebacks():
            self.notes.errors["log", "tracebacks"] += tracebacks

    async def _first(self, server: Server) -> Student:
        """Somebody who tries everything once, so that the server has loaded what it needs."""
        student, rng = Student(server.url, Notes()), Random(self.seed)
        await student.open("train")
        for act in (start, *MIXES[self.mix]):
            await act(student, rng)
        await start(student, rng)
        self.notes.errors += student.notes.errors
        return student

    async def _seat(self, server: Server, number: int, end: float, student: Student | None) -> None:
        """One chair: in a soak, one student after the other."""
        rng = Random(f"{self.seed} {number}")
        if student is None:
            await asyncio.sleep(rng.uniform(0, min(ARRIVAL, self.seconds / 4)))
        while perf_counter() < end:
            came = perf_counter()
            if student is None:
                student = Student(server.url, self.notes)
                student.progress.until = end
                try:
                    await student.open("train")
                except REFUSALS as error:
                    self.notes.errors["refused", repr(error)] += 1
                    student = None
                    await asyncio.sleep(AGAIN)
                    continue
            until = min(end, came + (rng.uniform(*STAY) if self.soak else inf))
            try:
                await start(student, rng)
                await self._work(student, rng, until)
                await _turn(student, "train", "last look")  # how far has it come?
            except GoneError as error:
                self.notes.errors["closed", str(error)] += 1
            self.sessions.append((student.progress, min(until, perf_counter()) - came))
            await student.leave(abruptly=self.soak and rng.random() < 0.5)
            student = None

    async def _uploader(self, server: Server, end: float) -> None:
        student, content = Student(server.url, self.notes), worst()
        try:
            await student.open("own")
            while perf_counter() < end:
                await upload(student, content)
        except REFUSALS as error:
            self.notes.errors["refused", repr(error)] += 1
        await student.leave()

    async def _work(self, student: Student, rng: Random, until: float) -> None:
        acts = MIXES[self.mix]
        while (left := until - perf_counter()) > 0:
            await asyncio.sleep(min(left, self.pace * rng.uniform(*SPREAD)))
            if perf_counter() < until:
                (act,) = rng.choices(list(acts), list(acts.values()))
                await act(student, rng)

    async def _watch(self, server: Server, began: float) -> None:
        while True:
            self.memory.append((perf_counter() - began, server.weigh()))
            await asyncio.sleep(SAMPLE)

    def report(self) -> str:
        """What was seen, as Markdown."""
        clicks = [wait for wait in self.notes.waits if wait.act in CLICKS]
        ticks = [wait for wait in self.notes.waits if wait.act == TICK]
        trained = [(progress.steps / progress.seconds, here) for progress, here in self.sessions if progress.seconds]
        speeds = [speed for speed, _ in trained] or [nan]
        total = sum(speed * here for speed, here in trained) / self.seconds
        beyond = (self.full - self.one) / (self.students - 1) if self.students > 1 else nan
        wrong = sum(n for (kind, _), n in self.notes.errors.items() if kind != "alert")
        row = {
            "students": f"{self.students}",
            "mix": self.mix,
            "pace": f"{self.pace:g} s",
            "seconds": f"{self.seconds:.0f}",
            "clicks": f"{len(clicks)}",
            "click latency p50 / p95": _both([wait.finished for wait in clicks]),
            "first element p50 / p95": _both([wait.first for wait in clicks]),
            "ticks": f"{len(ticks)}",
            "tick p50 / p95": _both([wait.finished for wait in ticks]),
            "steps/s a session, median / least": f"{_shown(median(speeds))} / {_shown(min(speeds))}",
            "steps/s in all": f"{total:.0f}",
            "of a bare loop": f"{total / mean(self.bare):.0%} of {mean(self.bare):.0f}",
            "MB with 0 / 1 / all": " / ".join(map(_shown, (self.empty, self.one, self.full))),
            "MB a session": _shown(beyond, ".1f"),
            "errors": f"{wrong}",
        }
        acts = {act: [wait for wait in self.notes.waits if wait.act == act] for act in self._acts()}
        lines = [
            [act, str(len(waits)), _both([wait.finished for wait in waits]), _both([wait.first for wait in waits])]
            for act, waits in acts.items()
        ]
        cores = f"students {self.client:.2f}, server {_shown(self.server, '.2f')}"
        parts = [
            _table([list(row), list(row.values())]),
            _table([["act", "times", "finished p50 / p95", "first element p50 / p95"], *lines]),
            "\n".join(
                [
                    f"- a bare loop: {' and '.join(f'{speed:.0f}' for speed in self.bare)} steps/s, before and after",
                    f"- cores: {cores}; the students themselves are late by {1000 * self.lag:.0f} ms (p95)",
                    f"- files: {', '.join(f'{name} {n}' for name, n in self.notes.files.items()) or 'none'}",
                    *(f"- {kind}: {n} x {text}" for (kind, text), n in self.notes.errors.most_common()),
                ]
            ),
        ]
        return "\n\n".join([*parts, self._soaked()] if self.soak else parts)

    def _acts(self) -> list[str]:
        return list(dict.fromkeys(wait.act for wait in self.notes.waits))

    def _soaked(self) -> str:
        minute = next((megabytes for at, megabytes in self.memory if at >= 60), self.memory[-1][1])
        most = max(megabytes for _, megabytes in self.memory)
        head = ["sessions", "MB after a minute", "most MB", "MB after all have left", "after / minute"]
        line = [str(len(self.sessions)), *map(_shown, (minute, most, self.after))]
        return _table([head, [*line, _shown(self.after / minute, ".2f")]])


async def _lag(late: list[float]) -> None:
    while True:
        began = perf_counter()
        await asyncio.sleep(0.05)
        late.append(perf_counter() - began - 0.05)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of all does not exceed."""
    return sorted(values)[ceil(share * len(values)) - 1] if values else nan


def _both(seconds: Sequence[float]) -> str:
    return " / ".join(_shown(1000 * percentile(seconds, share)) for share in (0.5, 0.95)) + " ms"


def _shown(value: float, form: str = ".0f") -> str:
    return "–" if isnan(value) else format(value, form)


def _table(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = lines
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rest])


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring a class together, and print what it had to wait for."""
    parser = argparse.ArgumentParser("python -m benchmarks.class", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--students", type=int, help="how many at a time; usually 30, in a soak 20")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long; usually 60")
    parser.add_argument("--mix", choices=MIXES, default="class", help="what they do; usually class")
    parser.add_argument("--pace", type=float, default=PACE, help="seconds between two acts; usually 5")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="students come and go for so long")
    parser.add_argument("--uploads", action="store_true", help="one more brings the worst file, again and again")
    parser.add_argument("--seed", type=int, default=0, help="of what they choose; usually 0")
    parser.add_argument("--url", help="a server that runs already; without it, one is started")
    parser.add_argument("--pid", type=int, nargs="*", default=[], help="its processes, to see their memory")
    options = parser.parse_args(arguments)
    students = options.students or (20 if options.soak else 30)
    seconds = 60 * options.soak if options.soak else options.seconds
    if students < 1 or seconds <= 0 or options.pace <= 0:
        parser.error("a class needs at least one student, and more than no time")
    before = alone(BARE)
    seen = Class(students, seconds, options.mix, options.seed, bool(options.soak), options.uploads, options.pace)
    try:
        if options.url:
            asyncio.run(seen.attend(Server(options.url, options.pid)))
        else:
            with tempfile.TemporaryDirectory() as folder, served(Path(folder, "server.log")) as server:
                asyncio.run(seen.attend(server))
    except REFUSALS as error:
        print(f"The server does not let the first student in: {error}", file=sys.stderr)
        return 1
    seen.bare = before, alone(BARE)  # how fast a machine is that others use too changes within minutes
    print(seen.report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
