"""A student without a browser: speaks Streamlit's websocket protocol as the browser does, and notes every wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from math import inf, isnan, nan
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import HTTPCookieProcessor, Request, build_opener

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Button_pb2 import Button
from streamlit.proto.ButtonGroup_pb2 import ButtonGroup
from streamlit.proto.ClientState_pb2 import ClientState, ContextInfo
from streamlit.proto.Common_pb2 import DoubleArray, FileURLs, FileURLsRequest, StringArray, UploadedFileInfo
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.DownloadButton_pb2 import DownloadButton
from streamlit.proto.FileUploader_pb2 import FileUploader
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.NewSession_pb2 import NewSession
from streamlit.proto.NumberInput_pb2 import NumberInput
from streamlit.proto.Selectbox_pb2 import Selectbox
from streamlit.proto.Slider_pb2 import Slider
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from toydiff.text import words

ANSWER_SECONDS = 60.0  # seconds that a student waits for an answer
TICK = "tick"  # the act of the page itself: a part of it that runs again and again
Control = Button | ButtonGroup | DownloadButton | FileUploader | Slider | Selectbox | NumberInput
CONTROLS = {"button", "button_group", "download_button", "file_uploader", "slider", "selectbox", "number_input"}


class GoneError(Exception):
    """The server has closed the websocket."""


class Wait(NamedTuple):
    """How long one act took, in seconds."""

    act: str
    first: float  # until the first element of the answer; of a file, until its address
    finished: float  # until the script has finished; of a file, until it is there


@dataclass
class Notes:
    """What all students of one class write down."""

    waits: list[Wait] = field(default_factory=list)
    files: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)  # (kind, what it said)


@dataclass
class Progress:
    """The training of one student, as the page has shown it: `steps` steps in `seconds` seconds."""

    steps: int = 0
    seconds: float = 0.0
    until: float = inf  # the end of the class: whoever still waits for a file then has the machine more and more alone
    _seen: tuple[float, int] | None = None

    def see(self, step: int) -> None:
        now = perf_counter()
        if now > self.until:
            return
        if self._seen is not None:
            self.seconds += now - self._seen[0]
            self.steps += max(0, step - self._seen[1])  # a reset makes no negative steps
        self._seen = now, step


@dataclass(eq=False)
class _Question:
    """A request to run the page, or the fragment of it that has this id."""

    act: str
    fragment: str
    asked: float
    answered: asyncio.Future[None]
    first: float = nan


@dataclass
class _Memory:
    """The large messages that a browser keeps, so that the server need not send them again."""

    age: int = 0
    kept: dict[str, tuple[int, str]] = field(default_factory=dict)  # hash: when it was last used, its fragment

    def finished(self, fragments: list[str], max_age: int) -> None:
        """After each run, what was not used for so many runs goes; after one of fragments, only what is theirs."""
        self.age += 1
        for name, (used, fragment) in list(self.kept.items()):
            if self.age - used > max_age and (not fragments or fragment in fragments):
                del self.kept[name]


class Student:
    """One browser tab. Every act waits for its answer; what runs by itself in the page runs meanwhile."""

    def __init__(self, url: str, notes: Notes) -> None:
        self.url, self.notes, self.progress = url.rstrip("/"), notes, Progress()
        self.page = ""  # the address of the page that is open
        self.pages: dict[str, str] = {}  # address: hash
        self._cookies = CookieJar()
        self._http = build_opener(HTTPCookieProcessor(self._cookies))
        self._socket: ClientConnection | None = None
        self._reading: asyncio.Task[None] | None = None
        self._controls: dict[str, tuple[Control, str]] = {}  # id: the control, the id of its fragment
        self._values: dict[str, WidgetState] = {}
        self._drawn: set[str] = set()  # the controls of the run at hand
        self._timers: dict[str, tuple[float, asyncio.Task[None]]] = {}  # fragment: interval and its clock
        self._questions: list[_Question] = []
        self._answering: list[_Question] = []
        self._ended = nan  # when the last run did
        self._memory, self._max_age = _Memory(), 0
        self._query = self._hash = self._session = ""
        self._places: asyncio.Future[FileURLs] | None = None  # where a file may be put
        self._context = ContextInfo(
            timezone="UTC", timezone_offset=0, locale="en-US", url=self.url, color_scheme="light"
        )

    async def open(self, page: str) -> None:
        """Type the address, and wait until the page is there. OSError and others where the server refuses."""
        began, self.page = perf_counter(), page
        await asyncio.to_thread(self._get, f"/{page}")
        address, host = self.url.replace("http", "ws", 1), urlsplit(self.url)
        request = Request(self.url)
        self._cookies.add_cookie_header(request)
        self._socket = await connect(
            f"{address}/_stcore/stream",
            origin=Origin(f"{host.scheme}://{host.netloc}"),
            subprotocols=[Subprotocol("streamlit"), Subprotocol("PLACEHOLDER_AUTH_TOKEN")],
            additional_headers={"Cookie": cookie} if (cookie := request.get_header("Cookie")) else None,
            max_size=None,
            ping_interval=None,  # a browser sends no pings
            proxy=None,
        )
        self._reading = asyncio.create_task(self._read(self._socket))
        await self._ask("open", page_name=page, since=began)

    async def turn(self, page: str, act: str) -> None:
        """Follow a link to another page of the app."""
        self.page, self._query = page, ""
        self._stop_clocks()
        self._controls.clear()
        self._values.clear()
        await self._ask(act, page_hash=self.pages[page])

    async def press(self, button: Button, act: str) -> None:
        """Click a button."""
        trigger = WidgetState(id=button.id, trigger_value=True)
        await self._ask(act, fragment=self._controls[button.id][1], trigger=trigger)

    async def choose(self, control: ButtonGroup | Slider | Selectbox, option: str) -> None:
        """Move a slider with named stops, or choose from a list."""
        state = self._values[control.id]
        if not isinstance(control, Selectbox):
            state.string_array_value.CopyFrom(StringArray(data=[option]))
        else:
            state.string_value = option
        await self._ask("control", fragment=self._controls[control.id][1])

    async def download(self, button: DownloadButton, act: str) -> bytes:
        """Click a download button: the file. OSError where there is none."""
        began = perf_counter()
        content = await asyncio.to_thread(self._get, button.url)
        self.notes.waits.append(Wait(act, perf_counter() - began, perf_counter() - began))
        return content

    async def upload(self, uploader: FileUploader, name: str, content: bytes, act: str) -> None:
        """Give the page a file. OSError where the server does not take it."""
        await asyncio.to_thread(self._get, "/_stcore/health")  # which gives the cookie that allows it
        began, self._places = perf_counter(), asyncio.get_running_loop().create_future()
        asked = FileURLsRequest(request_id=name, file_names=[name], session_id=self._session)
        await self._send(BackMsg(file_urls_request=asked))
        place = await asyncio.wait_for(self._places, ANSWER_SECONDS)
        await asyncio.to_thread(self._put, place.upload_url, name, content)
        info = UploadedFileInfo(name=name, size=len(content), file_id=place.file_id, file_urls=place)
        state = self._values.setdefault(uploader.id, WidgetState(id=uploader.id))
        state.file_uploader_state_value.ClearField("uploaded_file_info")
        state.file_uploader_state_value.uploaded_file_info.append(info)
        await self._ask(act, fragment=self._controls[uploader.id][1], since=began)

    async def leave(self, abruptly: bool = False) -> None:
        """Close the tab; abruptly: as when the lid of a laptop falls, without a word."""
        if self._socket is None or self._reading is None:
            return
        if abruptly:
            self._socket.transport.abort()
        else:
            await self._socket.close()
        await self._reading

    def controls(self, label: str = "") -> Iterator[Control]:
        """What can be clicked now, of that label or of any."""
        shown = (control for control, _ in self._controls.values())
        return (control for control in shown if not control.disabled and label in ("", control.label))

    def value(self, control: Slider | Selectbox) -> str:
        """The option that is chosen."""
        state = self._values[control.id]
        return state.string_array_value.data[0] if isinstance(control, Slider) else state.string_value

    def _get(self, address: str) -> bytes:
        with self._http.open(self.url + address, timeout=ANSWER_SECONDS) as answer:
            content: bytes = answer.read()
        return content

    def _put(self, address: str, name: str, content: bytes) -> None:
        (token,) = (cookie.value or "" for cookie in self._cookies if cookie.name == "_streamlit_xsrf")
        head = f'--end\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        request = Request(self.url + address, head.encode() + content + b"\r\n--end--\r\n", method="PUT")
        request.add_header("Content-Type", "multipart/form-data; boundary=end")
        request.add_header("X-Xsrftoken", token.strip('"'))
        self._http.open(request, timeout=ANSWER_SECONDS).close()

    async def _send(self, message: BackMsg) -> None:
        if self._socket is None:
            raise GoneError("there is no websocket")
        try:
            await self._socket.send(message.SerializeToString())
        except ConnectionClosed as closed:
            raise GoneError(str(closed)) from closed

    async def _ask(
        self,
        act: str,
        *,
        fragment: str = "",
        page_hash: str = "",
        page_name: str = "",
        trigger: WidgetState | None = None,
        since: float | None = None,
    ) -> None:
        """Ask for a run of the page, or of a fragment, and wait for its end. A tick is not waited for."""
        answered = asyncio.get_running_loop().create_future()
        question = _Question(act, fragment, perf_counter() if since is None else since, answered)
        self._questions.append(question)
        state = ClientState(
            query_string=self._query,
            widget_states=WidgetStates(widgets=[*self._values.values(), *([trigger] if trigger else [])]),
            page_script_hash=page_hash or self._hash,
            page_name=page_name,
            fragment_id=fragment,
            is_auto_rerun=act == TICK,
            cached_message_hashes=list(self._memory.kept),
            context_info=self._context,
        )
        await self._send(BackMsg(rerun_script=state))
        if act == TICK:
            return
        try:
            await asyncio.wait_for(answered, ANSWER_SECONDS)
        except TimeoutError:
            self._questions.remove(question)
            self.notes.errors["unanswered", act] += 1

    async def _read(self, socket: ClientConnection) -> None:
        try:
            with suppress(ConnectionClosed):
                async for data in socket:
                    message = ForwardMsg()
                    message.ParseFromString(data if isinstance(data, bytes) else data.encode())
                    self._receive(message)
        finally:
            self._stop_clocks()
            gone = GoneError(f"closed by the server: {socket.close_code} {socket.close_reason or ''}")
            waits: list[asyncio.Future[Any]] = [question.answered for question in self._questions]
            for waiting in waits:
                if not waiting.done():
                    waiting.set_exception(gone)
                    waiting.exception()  # a tick has nobody who waits for it
            self._questions.clear()

    def _receive(self, message: ForwardMsg) -> None:
        kind, fragments = message.WhichOneof("type"), list(message.metadata.run.fragment_ids)
        if kind == "new_session":
            self._begins(message.new_session, fragments)
        elif kind in ("delta", "ref_hash"):
            now = perf_counter()
            for question in self._answering:
                if isnan(question.first):
                    question.first = now
            if kind == "delta":
                if message.metadata.cacheable:
                    self._memory.kept[message.hash] = self._memory.age, message.delta.fragment_id
                self._draw(message.delta)
            elif message.ref_hash in self._memory.kept:
                self._memory.kept[message.ref_hash] = self._memory.age, self._memory.kept[message.ref_hash][1]
            else:
                self.notes.errors["protocol", "the server leaves out what it has not sent"] += 1
        elif kind == "script_finished":
            if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                self.notes.errors["exception", "the page does not compile"] += 1
            self._ended = perf_counter()
            if message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                self._ends(fragments)
        elif kind == "navigation":
            self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            self._hash = message.navigation.page_script_hash
        elif kind == "file_urls_response" and self._places is not None:
            self._places.set_result(message.file_urls_response.file_urls[0])
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            self._start_clock(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                self._stop_clock(fragment)
        elif kind == "page_not_found":
            self.notes.errors["exception", f"page not found: {message.page_not_found.page_name}"] += 1

    def _begins(self, session: NewSession, fragments: list[str]) -> None:
        """A run: of the whole page it answers every click, of fragments what was asked of them."""
        self._hash = session.page_script_hash
        self._session = session.initialize.session_id or self._session
        self._max_age = session.config.max_cached_message_age
        if fragments:  # so the last run was complete, even if it was said to end early
            self._answer()
        else:
            self._stop_clocks()
            self._drawn.clear()
            self._questions = [question for question in self._questions if question.act != TICK]
        self._ended = nan
        self._answering = [question for question in self._questions if not fragments or question.fragment in fragments]

    def _answer(self) -> None:
        """What was asked before the last run has its answer. (A run whose end was never said has ended now.)"""
        ended = perf_counter() if isnan(self._ended) else self._ended
        for question in self._answering:
            if question in self._questions:
                self._questions.remove(question)
                first = ended if isnan(question.first) else question.first
                self.notes.waits.append(Wait(question.act, first - question.asked, ended - question.asked))
                if not question.answered.done():
                    question.answered.set_result(None)
        self._answering = []

    def _ends(self, fragments: list[str]) -> None:
        self._answer()
        self._memory.finished(fragments, self._max_age)
        if not fragments:
            for gone in self._controls.keys() - self._drawn:
                del self._controls[gone]
                self._values.pop(gone, None)

    def _draw(self, delta: Delta) -> None:
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind in CONTROLS:
            control: Control = getattr(element, kind)
            self._controls[control.id] = control, delta.fragment_id
            self._drawn.add(control.id)
            if not isinstance(control, Button | DownloadButton | FileUploader) and (
                control.set_value or control.id not in self._values
            ):
                self._values[control.id] = _state(control)
        elif kind == "metric" and element.metric.label == words("train.step"):
            self.progress.see(int(element.metric.body.replace(",", "")))
        elif kind == "exception" and not element.exception.is_warning:
            self.notes.errors["exception", f"{element.exception.type}: {element.exception.message}"] += 1
        elif kind == "alert" and element.alert.format == Alert.ERROR:
            self.notes.errors["alert", element.alert.body] += 1

    def _start_clock(self, fragment: str, interval: float) -> None:
        if fragment in self._timers:
            if self._timers[fragment][0] == interval:
                return
            self._stop_clock(fragment)
        self._timers[fragment] = interval, asyncio.create_task(self._tick(fragment, interval))

    async def _tick(self, fragment: str, interval: float) -> None:
        with suppress(GoneError):
            while True:  # the next one does not wait for the answer to this one
                await asyncio.sleep(interval)
                await self._ask(TICK, fragment=fragment)

    def _stop_clock(self, fragment: str) -> None:
        if fragment in self._timers:
            self._timers.pop(fragment)[1].cancel()

    def _stop_clocks(self) -> None:
        for fragment in list(self._timers):
            self._stop_clock(fragment)


def _state(control: ButtonGroup | Slider | Selectbox | NumberInput) -> WidgetState:
    """What the browser says of a control that was just drawn."""
    state = WidgetState(id=control.id)
    if isinstance(control, ButtonGroup):
        names = [option.content for option in control.options]
        chosen = control.raw_values if control.set_value else [names[i] for i in control.default]
        state.string_array_value.CopyFrom(StringArray(data=chosen))
        return state
    if isinstance(control, Selectbox):
        state.string_value = control.raw_value if control.set_value else control.options[control.default]
    elif isinstance(control, NumberInput):
        value = control.value if control.set_value else control.default
        if control.data_type == NumberInput.INT:
            state.int_value = int(value)
        else:
            state.double_value = value
    elif control.options:
        chosen = control.raw_value if control.set_value else [control.options[int(i)] for i in control.default]
        state.string_array_value.CopyFrom(StringArray(data=chosen))
    else:
        chosen = control.value if control.set_value else control.default
        state.double_array_value.CopyFrom(DoubleArray(data=chosen))
    return state
