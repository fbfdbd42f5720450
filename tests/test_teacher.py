"""The teacher's view: who gets it, what it says of the class, that everybody stops and goes on, and the way in."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from weakref import WeakValueDictionary

import pytest
from streamlit.testing.v1 import AppTest

from tests.waiting import PATIENCE
from toydiff.data import user_data
from toydiff.data.points import spiral
from toydiff.experiments.experiment import Experiment
from toydiff.experiments.image_experiment import ImageExperiment
from toydiff.server.limits import SHORTEST, Limits
from toydiff.server.live import ImageRun, Race, Run
from toydiff.text import prose, words
from toydiff.ui import room as room_module
from toydiff.ui import student_link, teacher
from toydiff.ui.page import PAGES
from toydiff.ui.state import IMAGE

APP = Path(__file__).parent.parent / "app.py"
WORD = "open, sésame & co"
FAST = {"v": "2", "points": "100", "particles": "16", "T": "10", "width": "8", "depth": "1", "batch": "16"}
SMALL = Experiment(points=100, particles=16, T=10, width=8, depth=1, batch=16)
IMAGES = ImageExperiment(n=60, T=10, batch=4)


@pytest.fixture
def room(monkeypatch):
    """The one room of this process, empty, with a teacher's word."""
    room = room_module.room()
    monkeypatch.setattr(room, "limits", Limits(trainees=3, visitors=50, teacher=WORD))
    monkeypatch.setattr(room, "_sessions", WeakValueDictionary())
    monkeypatch.setattr(room, "held", False)
    monkeypatch.setattr(teacher, "DELAY", 0.0)
    return room


@pytest.fixture
def train():
    """Trainings that stop at the end of their test."""
    begun = []

    def keep(training, steps=0, running=False):
        begun.append(training)
        if steps:
            training.advance(steps)
        if running:
            training.start()
        return training

    yield keep
    for training in begun:
        training.pause()


def open_page(name: str, word: str | None = None, **params: str) -> AppTest:
    """A page in a fresh server."""
    at = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    at.query_params.update(FAST | params | ({} if word is None else {"teacher": word}))
    return at.switch_page(f"pages/{name}.py").run()


def fine(at: AppTest) -> AppTest:
    assert [error.message for error in at.exception] == []
    return at


def sees(at: AppTest) -> bool:
    """Whether the view is there."""
    return any(button.key == "teacher-hold" for button in fine(at).button)


def invited(at: AppTest) -> bool:
    """Whether the table of contents has the view."""
    return "teacher" in [link.proto.page for link in fine(at).sidebar.get("page_link")]


def said(at: AppTest) -> list[str]:
    return [element.value for kind in (at.error, at.info, at.warning) for element in kind]


def give(at: AppTest, word: str) -> AppTest:
    """Type a word into the field."""
    at.text_input[0].set_value(word)
    return at.button[0].click().run()


# ---------------------------------------------------------------- who gets it


def test_it_is_off_by_default(room, monkeypatch):
    monkeypatch.setattr(room, "limits", Limits())
    for word in (None, "", WORD):
        at = open_page("teacher", word)
        assert not sees(at)
        assert not invited(at)
        assert said(at) == [prose("teacher", "off", least=SHORTEST)]
        assert not at.text_input
        assert "teacher" not in at.query_params


@pytest.mark.parametrize("lesson", ["teacher", "home", "forward"])
def test_the_word_in_an_address_opens_it(room, lesson):
    at = open_page(lesson, WORD)
    assert "teacher" not in at.query_params
    assert at.query_params["points"] in ("100", ["100"])
    assert invited(at)
    assert sees(at.switch_page("pages/teacher.py").run())
    assert "teacher" not in at.query_params
    assert sees(at.run())


def test_it_opens_through_the_app(room):
    at = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    at.query_params.update(FAST | {"teacher": WORD})
    assert invited(at.run())
    assert sees(at.switch_page("pages/teacher.py").run())


def test_the_page_runs_as_a_script_of_its_own(room):
    at = AppTest.from_file(str(APP.parent / "pages" / "teacher.py"), default_timeout=PATIENCE)
    at.query_params["teacher"] = WORD
    assert sees(at.run())
    assert not at.sidebar.get("page_link")


WRONG = ["", " ", WORD[:-1], WORD + " ", WORD.upper(), WORD.replace("é", "e"), "\x00", "é" * 200]


@pytest.mark.parametrize("word", WRONG)
def test_a_wrong_word_opens_nothing(room, word):
    at = open_page("teacher", word)
    assert "teacher" not in at.query_params
    assert not sees(at)
    assert not invited(at)
    assert said(at) == [words("teacher.wrong")]
    assert said(fine(at.run())) == []


def test_a_word_of_the_environment_that_is_not_unicode_harms_nobody(room, monkeypatch):
    monkeypatch.setattr(room, "limits", replace(room.limits, teacher="caf\udce9 cr\udce8me"))
    assert said(open_page("teacher", "café crème")) == [words("teacher.wrong")]


def test_on_a_lesson_a_wrong_word_is_passed_over(room):
    at = fine(open_page("forward", "a wrong word"))
    assert "teacher" not in at.query_params
    assert said(at) == []
    assert not invited(at)


def test_the_word_can_be_typed(room):
    at = open_page("teacher")
    assert not sees(at)
    assert said(at) == []
    assert at.text_input[0].proto.type == at.text_input[0].proto.PASSWORD
    assert said(give(at, "a wrong word")) == [words("teacher.wrong")]
    assert sees(give(at, WORD))
    assert invited(at)


def test_after_a_few_wrong_words_even_the_right_one_has_to_wait(room, monkeypatch):
    at = open_page("teacher")
    for _ in range(teacher.MAX_WRONG_WORDS):
        assert said(give(at, "a wrong word")) == [words("teacher.wrong")]
    assert said(give(at, WORD)) == [words("teacher.later")]
    assert not sees(at)
    monkeypatch.setattr(teacher, "MINUTE", 0.0)
    assert sees(give(at, WORD))


def test_every_answer_takes_the_same_time(room, monkeypatch):
    waits = []
    monkeypatch.setattr(teacher.time, "sleep", waits.append)
    monkeypatch.setattr(teacher, "DELAY", 0.123)
    for word in ("a wrong word", WORD):
        waits.clear()
        open_page("teacher", word)
        assert 0.123 in waits


def test_nothing_keeps_the_word(room, caplog):
    at = open_page("teacher", WORD)
    give(open_page("teacher"), WORD)
    kept = at.session_state._state.filtered_state
    shown = repr(at.main) + repr(at.sidebar) + repr(kept) + repr(at.query_params)
    assert "teacher-way" in shown  # it is the whole of it
    assert WORD not in shown + caplog.text


def test_a_tab_that_is_loaded_again_still_has_it(room):
    at = open_page("teacher", WORD)
    again = AppTest.from_file(str(APP), default_timeout=PATIENCE)
    again.session_state["session"] = at.session_state["session"]  # as `state.come_back` puts it there
    assert sees(again.switch_page("pages/teacher.py").run())


def test_a_tab_that_had_another_session_before_has_it_too(room):
    at = open_page("teacher", WORD)
    at.session_state["session"] = room.enter("before")
    assert sees(at.run())


def test_a_full_room_has_a_place_for_the_teacher(room, monkeypatch):
    others = [room.enter(name) for name in "ab"]
    monkeypatch.setattr(room, "limits", replace(room.limits, visitors=len(others)))
    assert said(fine(open_page("forward"))) == [words("room.full", visitors=2)]
    assert sees(open_page("teacher", WORD))


# ---------------------------------------------------------------- what it says of the class


def column(at: AppTest, name: str) -> list:
    return at.dataframe[0].value[name].tolist()


def test_the_table_has_a_line_for_each_student(room, train):
    a, b, c, d = (room.enter(name) for name in "abcd")
    a.page, a.run = "train", train(Run(SMALL), steps=3)
    b.page, b.run, b.races["time"] = "field", train(Run(SMALL)), train(Race(SMALL, SMALL), steps=2)
    c.page, c.run = "train", train(Run(replace(SMALL, dataset="moons", lr=1000.0)), steps=100)
    d.page, d.experiment = "reverse", replace(SMALL, dataset="circles")
    at = open_page("teacher", WORD)
    assert column(at, "number") == [1, 2, 3, 4]
    assert column(at, "page") == [words(f"nav.{name}") for name in ("train", "field", "train", "reverse")]
    assert column(at, "data") == [words(f"names.{name}") for name in ("spiral", "spiral", "moons", "circles")]
    assert column(at, "state") == [words(f"teacher.{name}") for name in ("stands", "stands", "exploded", "watches")]
    assert column(at, "step")[:2] == [3, 2]
    good = column(at, "good")
    assert good[0] == f"{a.run.snapshot().evaluations[-1].ratio:,.2f} ×"
    assert good[1].count("×") == 2
    assert good[3] == ""
    labels = {metric.label: metric.value for metric in at.metric}
    assert labels[words("teacher.here")] == "4"
    assert labels[words("teacher.training")] == "0"
    assert labels[words("teacher.watching")] == "4"


def test_images_are_told_by_the_page_that_shows_them(room, train):
    session = room.enter("a")
    session.page, session.run = "images", train(Run(SMALL), steps=3)
    session.image_runs[IMAGES] = run = train(ImageRun(IMAGES, IMAGES.images()), steps=1)
    share = run.snapshot().evaluations[-1].ratio
    line = teacher._row(1, session, teacher.StepRates())
    assert (line["data"], line["step"], line["good"]) == (words("names.digits"), 1, f"{share:.0%}")
    session.page = "train"
    assert teacher._row(1, session, teacher.StepRates())["step"] == 3


def test_what_trains_now_comes_first(room, train):
    session = room.enter("a")
    session.page, session.run = "train", train(Run(SMALL), steps=3)
    session.races["time"] = train(Race(SMALL, SMALL), running=True)
    line = teacher._row(1, session, teacher.StepRates())
    assert line["state"] == words("teacher.trains")
    assert "|" in line["good"]


def test_the_name_of_somebodys_data_is_text(room, train, monkeypatch):
    session = room.enter("a")
    one = user_data.keep("**<b>mine</b>**", spiral(100, 0))
    session.page, session.run = "train", train(Run(replace(SMALL, dataset=one.key)), steps=1)
    assert column(open_page("teacher", WORD), "data") == [one.name]
    monkeypatch.setattr(user_data, "_held", {})  # as if it were gone
    assert teacher._row(1, session, teacher.StepRates())["data"] == words("teacher.own")


def test_who_has_the_word_is_not_one_of_the_class(room):
    at = open_page("teacher", WORD)
    assert words("teacher.nobody") in said(at)
    assert not at.dataframe
    student = room.enter("a")
    assert column(at.run(), "number") == [1]
    assert teacher.students() == [student]


def test_places(room, train):
    a, b = room.enter("a"), room.enter("b")
    assert room.sit_down(a)
    a.run = train(Run(SMALL), running=True)
    now = teacher.numbers(teacher.StepRates())
    assert (now.here, now.training, now.places) == (2, 1, room.limits.trainees - 1)
    assert now.memory is None or now.memory > 10
    del b


class Steps:
    """Of a training, what a pace needs to know."""

    def __init__(self, step):
        self.step = step


def test_the_pace_is_measured_between_two_looks():
    rates, a, b = teacher.StepRates(), Steps(100), Steps(0)
    rates.look([a], 10.0)
    assert (rates.of(a), rates.total) == (None, 0)
    a.step = 150
    rates.look([a, b], 12.0)
    assert (rates.of(a), rates.of(b), rates.total) == (25.0, None, 25.0)
    a.step, b.step = 1000, 1000
    rates.look([a, b], 12.5)  # too soon
    assert (rates.of(a), rates.of(b)) == (25.0, None)
    rates.look([a, b], 14.0)
    assert (rates.of(a), rates.of(b), rates.total) == (425.0, 500.0, 925.0)
    a.step = 900  # it went back to what was saved
    rates.look([a], 16.0)
    assert (rates.of(a), rates.of(b), rates.total) == (0.0, None, 0.0)


# ---------------------------------------------------------------- everybody listens


def test_everybody_stops_and_goes_on(room, train):
    a, b, c = (room.enter(name) for name in "abc")
    a.run, b.run = train(Run(SMALL), running=True), train(Run(SMALL), steps=1)
    c.races["time"] = train(Race(SMALL, SMALL), running=True)
    at = open_page("teacher", WORD)
    fine(at.button(key="teacher-hold").click().run())
    assert at.button(key="teacher-hold").label == words("teacher.go_on")
    assert room.held
    trainings = [a.run, b.run, c.races["time"]]
    assert [training.running for training in trainings] == [False, False, False]
    for training in trainings:
        training.pause()  # returns when the step at hand is done
    fine(at.button(key="teacher-hold").click().run())
    assert at.button(key="teacher-hold").label == words("teacher.pause")
    assert not room.held
    assert [training.running for training in trainings] == [True, False, True]


def test_who_comes_back_to_a_training_meanwhile_stops_too(room, train):
    teacher.pause_everybody()
    late = room.enter("late")
    late.run = train(Run(SMALL), running=True)
    teacher.keep_paused()
    assert not late.run.running
    late.run.pause()
    teacher.resume_all()
    assert late.run.running


def test_a_training_that_was_thrown_away_stays_so(room, train):
    session = room.enter("a")
    session.run = old = train(Run(SMALL), running=True)
    teacher.pause_everybody()
    old.pause()
    session.run = fresh = train(Run(SMALL))
    teacher.resume_all()
    assert not old.running
    assert not fresh.running


def test_nobody_is_stopped_unless_everybody_is(room, train):
    session = room.enter("a")
    session.run = train(Run(SMALL), running=True)
    teacher.keep_paused()
    assert session.run.running


def test_a_lesson_says_it_and_its_buttons_are_off(room):
    at = fine(open_page("train"))
    teacher.pause_everybody()
    fine(at.button(key="go").click().run())
    assert at.button(key="go").disabled
    assert at.button(key="one").disabled
    assert words("room.held") in said(at)
    assert not at.session_state["session"].run.running
    teacher.resume_all()
    assert not fine(at.run()).button(key="go").disabled
    assert words("room.held") not in said(at)


def test_the_teacher_can_show_something_meanwhile(room):
    at = fine(open_page("train", WORD))
    teacher.pause_everybody()
    assert not fine(at.run()).button(key="go").disabled
    assert fine(at.button(key="go").click().run()).session_state["session"].run.running
    teacher.keep_paused()
    run = at.session_state["session"].run
    assert run.running
    run.pause()


# ---------------------------------------------------------------- the way in

EXPERIMENTS = [
    (Experiment(), ImageExperiment()),
    (Experiment(dataset="moons", T=50, strength=0.5, lr=0.001), ImageExperiment()),
    (Experiment(dataset="own-0123456789abcdef", trained=3000, x=-1.5), ImageExperiment(data="moon-phases-16", T=50)),
    (Experiment(sampler="dpm-solver++", steps=10), ImageExperiment(network="dit", seed=2**31 - 1)),
]


@pytest.mark.parametrize(("points", "images"), EXPERIMENTS)
@pytest.mark.parametrize("address", ["http://192.168.1.20:8501", "https://school.example/toys"])
def test_a_link_brings_the_settings(address, points, images):
    link = student_link.lesson_address(address, "train", points, images)
    assert link.startswith(f"{address}/train")
    params = dict(parse_qsl(urlsplit(link).query))
    assert Experiment.from_params(params) == (points, [])
    of_images = {name.removeprefix(IMAGE): value for name, value in params.items() if name.startswith(IMAGE)}
    assert ImageExperiment.from_params(of_images) == (images, [])


def test_a_link_leaves_out_what_is_usual():
    assert student_link.lesson_address("http://a.b", "train", Experiment(), ImageExperiment()) == "http://a.b/train"
    assert student_link.lesson_address("http://a.b", "home", Experiment(), ImageExperiment()) == "http://a.b/"
    link = student_link.lesson_address("http://a.b", "cost", Experiment(T=50), ImageExperiment(T=25))
    assert link == "http://a.b/cost?v=2&T=50&image_v=1&image_T=25"


MASKS = (
    lambda i, j: (i + j) % 2,
    lambda i, j: i % 2,
    lambda i, j: j % 3,
    lambda i, j: (i + j) % 3,
    lambda i, j: (i // 2 + j // 3) % 2,
    lambda i, j: i * j % 2 + i * j % 3,
    lambda i, j: (i * j % 2 + i * j % 3) % 2,
    lambda i, j: ((i + j) % 2 + i * j % 3) % 2,
)


def modules(svg: str) -> list[list[int]]:
    """The black modules (1) of an SVG of horizontal strokes, without the white border."""
    side = int(re.search(r'width="(\d+)" height="\1"', svg).group(1)) // 10 - 8
    rows = [[0] * side for _ in range(side)]
    x = y = 0.0
    (path,) = re.findall(r'<path [^>]*stroke="#000" [^>]*d="([^"]+)"', svg)
    for move, dx, dy, length in re.findall(r"([Mm])([-\d.]+) ([-\d.]+)h(\d+)", path):
        x, y = (float(dx), float(dy)) if move == "M" else (x + float(dx), y + float(dy))
        for _ in range(int(length)):
            rows[int(y) - 4][int(x) - 4] = 1
            x += 1
    return rows


def read(rows: list[list[int]]) -> str:
    """What a QR code says, as ISO/IEC 18004 has it: a text in bytes, in a code of version 2 to 5 and of level L, which
    has one block of data and one small square."""
    n = len(rows)
    assert 25 <= n <= 37
    assert rows[8][:2] == [1, 1]
    mask = MASKS[4 * (rows[8][2] ^ 1) + 2 * rows[8][3] + (rows[8][4] ^ 1)]

    def data(i: int, j: int) -> bool:
        corner = (i < 9 and (j < 9 or j > n - 9)) or (i > n - 9 and j < 9)
        return not (corner or 6 in (i, j) or (abs(i - n + 7) < 3 and abs(j - n + 7) < 3))

    bits, up = "", True
    for right in [*range(n - 1, 6, -2), 5, 3, 1]:
        for i in reversed(range(n)) if up else range(n):
            bits += "".join(str(rows[i][j] ^ (mask(i, j) == 0)) for j in (right, right - 1) if data(i, j))
        up = not up
    assert bits[:4] == "0100"
    length = int(bits[4:12], 2)
    return bytes(int(bits[12 + 8 * k : 20 + 8 * k], 2) for k in range(length)).decode()


@pytest.mark.parametrize(("points", "images"), EXPERIMENTS[:2])
def test_the_code_says_the_link(points, images):
    link = student_link.lesson_address("http://192.168.1.20:8501", "train", points, images)
    assert read(modules(student_link.code(link))) == link


def test_a_usual_link_makes_a_coarse_code():
    link = student_link.lesson_address("http://192.168.1.20:8501", "train", Experiment(), ImageExperiment())
    assert len(modules(student_link.code(link))) == 25


def test_the_longest_link_fits():
    longest = Experiment(
        *("own-0123456789abcdef", 9999, "quadratic", 999, 0.123456, "mlp-no-time", "last-step", 511, 7, 255, 4095),
        *(0.123456, 2**31 - 1, "network", "dpm-solver++", 0.123456, 998, 999, -4.123456, -4.123456, 997, 99999),
    )
    server = "https://" + "a" * 60 + ".example:12345"
    link = student_link.lesson_address(server, "between", longest, ImageExperiment(T=50, seed=1))
    assert "<svg" in student_link.code(link)


ADDRESSES = {
    "http://192.168.1.20:8501": "http://192.168.1.20:8501",
    "  https://school.example/ ": "https://school.example",
    "http://teacher-laptop.local:8501/": "http://teacher-laptop.local:8501",
    "HTTP://localhost": "http://localhost",
    "http://a/toys/diffusion/": "http://a/toys/diffusion",
    "http://10.0.0.5:8501/teacher": "http://10.0.0.5:8501",
    "http://10.0.0.5:8501/train": "http://10.0.0.5:8501",
    "http://a/toys/own/?T=50&seed=1": "http://a/toys",
    "http://a/?": "http://a",
    "http://[fe80::1]:8501": "http://[fe80::1]:8501",
}
REFUSED = [
    *("", " ", "school", "192.168.1.20:8501", "ftp://a", "javascript:alert(1)", "http://", "http:///train", "//a"),
    *(
        "http://a:0",
        "http://a:65536",
        "http://a:x",
        "http://a:",
        "http://a b",
        "http://a#x",
    ),
    *(
        "http://me:secret@a",
        "http://a/../b",
        "http://a//b",
        "http://<b>",
        "http://a/<script>",
        "http://a\nb",
        "http://-a",
    ),
    *("http://a..b", "http://.a", "http://1.2.3", "http://1.2.3.256", "http://[1.2.3.4]", "http://[::g]", "http://a_b"),
    *(
        "http://" + "a" * 64,
        "http://" + "a." * 200,
        "http://a/" + "b" * 300,
        "http://ⓐ",
        "http://a:８５０１",
        "data:text/html,x",
    ),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_that_is_one(address):
    assert student_link.checked(address) == ADDRESSES[address]


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_none(address):
    with pytest.raises(ValueError, match=re.escape(words("teacher.address_wrong"))):
        student_link.checked(address)


CAME = {
    "http://192.168.1.20:8501/teacher": "http://192.168.1.20:8501",
    "https://school.example/teacher": "https://school.example",
    "https://school.example/toys/teacher": "https://school.example/toys",
    "http://[fe80::1]:8501/teacher": "http://[fe80::1]:8501",
    "http://localhost:8501/teacher": "http://10.1.2.3:8501",
    "http://127.0.0.1:9000/teacher": "http://10.1.2.3:9000",
    "http://[::1]:8501/toys/teacher": "http://10.1.2.3:8501/toys",
    "http://0.0.0.0:8501/teacher": "http://10.1.2.3:8501",
}


@pytest.mark.parametrize("url", CAME)
def test_where_students_find_it(monkeypatch, url):
    monkeypatch.setattr(student_link, "_in_the_network", lambda: "10.1.2.3")
    assert student_link.usual_address(url) == CAME[url]
    assert student_link.checked(student_link.usual_address(url)) == CAME[url]


def test_without_a_network_the_machine_has_its_name(monkeypatch):
    class NoNetwork(student_link.socket.socket):
        def connect(self, address):
            raise OSError

    monkeypatch.setattr(student_link.socket, "socket", NoNetwork)
    monkeypatch.setattr(student_link.socket, "gethostname", lambda: "teacher-laptop")
    assert student_link.usual_address("http://localhost:8501/teacher") == "http://teacher-laptop:8501"


def shown_link(at: AppTest) -> str:
    return fine(at).code[0].value


def test_the_page_shows_the_way_in(room, monkeypatch):
    monkeypatch.setattr(student_link, "_in_the_network", lambda: "10.1.2.3")
    at = open_page("teacher", WORD, dataset="moons")
    assert words("teacher.only_here") in said(at)
    assert shown_link(at).startswith("http://10.1.2.3:8501/train?v=2&dataset=moons&")
    assert at.selectbox[0].options == [words(f"nav.{name}") for name in PAGES]
    at.selectbox[0].set_value("cost").run()
    assert urlsplit(shown_link(at)).path == "/cost"
    at.text_input(key="teacher-address").set_value("https://school.example/").run()
    assert shown_link(at).startswith("https://school.example/cost?")
    assert WORD not in shown_link(at)
    at.switch_page("pages/forward.py").run()
    at.switch_page("pages/teacher.py").run()
    assert shown_link(at).startswith("https://school.example/cost?")  # it was not forgotten
    at.text_input(key="teacher-address").set_value("<b>").run()
    assert words("teacher.address_wrong") in said(at)
    assert not at.code
    assert at.text_input(key="teacher-address").value == "<b>"


def test_in_full_screen_there_is_nothing_else(room):
    at = open_page("teacher", WORD)
    before = shown_link(at)
    at.toggle(key="teacher-large").set_value(True).run()
    assert shown_link(at) == before
    assert not sees(at)
    assert [metric.label for metric in at.metric] == [words("teacher.here")]
    at.toggle(key="teacher-large").set_value(False).run()
    assert sees(at)
