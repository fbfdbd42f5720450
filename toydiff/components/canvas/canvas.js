// The canvas: holds the drawing and the tools, and draws when, and only when, something changes.

import { Cloud, decoded, encoded } from "./cloud.js";
import { Picture } from "./picture.js";
import { TOOLS } from "./tools.js";
import { dressed } from "../theme.js";

const PAUSE = 300; // ms without a new stroke before Python gets the drawing
const STEP = 0.03; // distance that an arrow key moves the tool; the picture is 2 wide
const STRIDE = 5; // times as far with the shift key
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };

function create(shadow) {
  const root = shadow.querySelector(".drawing");
  const canvas = root.querySelector("canvas");
  const hint = root.querySelector(".hint");
  const counter = root.querySelector(".count");
  const buttons = (kind) => [...root.querySelectorAll(`[data-${kind}]`)];
  const picture = new Picture(canvas);
  const state = { tool: "brush", size: 1 };
  let cloud = null;
  let labels = {};
  let theme = null;
  let tell = () => {};
  let told = ""; // the drawing that Python has
  let timer = 0;
  let stroke = null; // { id, at, ahead, sprayed } from the press of a button to its release
  let hovered = null; // where the pointer is, or where the arrow keys moved the tool
  let request = 0;
  let before = null; // when the last picture was drawn, if time matters

  // Takes Python's data, at every run of the page. A drawing that is newer than Python's stays.
  function receive(data, setStateValue) {
    tell = setStateValue;
    labels = data.labels;
    cloud ??= new Cloud(data.most, data.unit);
    if (!stroke && !cloud.touched && told !== data.drawing) cloud.put(decoded((told = data.drawing)));
    for (const place of buttons("say")) place.textContent = labels[place.dataset.say];
    for (const place of buttons("name")) {
      place.setAttribute("aria-label", labels[place.dataset.name]);
      if (place.tagName === "BUTTON") place.title = labels[place.dataset.name];
    }
    root.setAttribute("aria-label", labels.canvas);
    theme = dressed(root, data.themes);
    picture.size = 0;
    show();
  }

  function report() {
    clearTimeout(timer);
    timer = setTimeout(send, PAUSE);
  }

  function send() {
    clearTimeout(timer);
    const drawing = encoded(cloud.points);
    if (stroke || drawing === told) return;
    tell("drawing", (told = drawing));
  }

  // ---------------------------------------------------------------- strokes

  const radius = () => TOOLS[state.tool].radii[state.size];

  function press(event) {
    if (stroke || event.button !== 0) return; // a second finger draws nothing
    canvas.setPointerCapture(event.pointerId);
    root.focus({ preventScroll: true });
    begin(event.pointerId, picture.place(event));
  }

  function begin(id, at) {
    clearTimeout(timer);
    cloud.begin();
    stroke = { id, at, sprayed: at, ahead: 0 };
    TOOLS[state.tool].touch(cloud, stroke, radius());
    hovered = at;
    show();
  }

  function go(to) {
    TOOLS[state.tool].move?.(cloud, stroke, to, radius());
    stroke.at = to;
  }

  function end() {
    stroke = null;
    cloud.end();
    report();
    show();
  }

  function move(event) {
    const drawing = stroke?.id === event.pointerId;
    if (stroke && !drawing) return;
    hovered = picture.place(event);
    if (drawing) {
      const all = event.getCoalescedEvents?.() ?? []; // a fast hand moves more often than pictures are drawn
      for (const one of all.length ? all : [event]) go(picture.place(one));
    }
    ask();
  }

  function release(event) {
    if (stroke?.id !== event.pointerId) return;
    if (event.pointerType === "touch") hovered = null;
    end();
  }

  function leave(event) {
    if (stroke) return;
    hovered = null;
    if (event.pointerType === "mouse") send(); // now, because the next click may open another page
    ask();
  }

  // Without a mouse: the arrows move the tool, and it draws while the space bar is held.
  canvas.onkeydown = (event) => {
    const [x, y] = ARROWS[event.key] ?? [0, 0];
    if (event.ctrlKey || event.metaKey || event.altKey || !(x || y || event.key === " ")) return;
    event.preventDefault(); // the page does not scroll
    const from = hovered ?? { x: 0, y: 0 };
    if (event.key === " ") {
      if (!stroke && !event.repeat) begin("keys", from);
      return;
    }
    if (stroke && stroke.id !== "keys") return;
    const far = STEP * (event.shiftKey ? STRIDE : 1);
    const inside = (value) => Math.max(-1, Math.min(1, value));
    hovered = { x: inside(from.x + far * x), y: inside(from.y + far * y) };
    if (stroke) go(hovered);
    ask();
  };
  canvas.onkeyup = (event) => {
    if (event.key === " " && stroke?.id === "keys") end();
  };
  canvas.onfocus = () => {
    if (canvas.matches(":focus-visible")) hovered ??= { x: 0, y: 0 };
    ask();
  };
  canvas.onblur = () => {
    if (stroke?.id === "keys") end();
    hovered = null;
    send(); // now, because the next key may open another page
    ask();
  };
  canvas.onpointerdown = press;
  canvas.onpointermove = move;
  canvas.onpointerup = canvas.onpointercancel = canvas.onlostpointercapture = release;
  canvas.onpointerleave = leave;
  canvas.oncontextmenu = (event) => event.preventDefault(); // a long press opens no menu
  // A quick stroke must not count as a flick: browsers would take the next tap as its end, and press no button.
  canvas.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });

  // ---------------------------------------------------------------- buttons and keys

  function act(name) {
    if (stroke) return;
    cloud[name]();
    report();
    show();
  }

  function choose(choice) {
    if (!stroke) Object.assign(state, choice);
    show();
  }

  for (const button of buttons("tool")) button.onclick = () => choose({ tool: button.dataset.tool });
  for (const button of buttons("size")) button.onclick = () => choose({ size: Number(button.dataset.size) });
  for (const button of buttons("do")) button.onclick = () => act(button.dataset.do);
  root.onkeydown = (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    act(event.shiftKey ? "redo" : "undo");
  };
  // After a mouse click the section gets the focus: a button with the focus would take the space bar.
  root.onclick = (event) => {
    if (event.detail > 0 && event.target.closest("button")) root.focus({ preventScroll: true });
  };

  // ---------------------------------------------------------------- the display

  // Shows the parts that do not change within a stroke.
  function show() {
    for (const button of buttons("tool")) button.setAttribute("aria-pressed", button.dataset.tool === state.tool);
    for (const button of buttons("size")) button.setAttribute("aria-pressed", button.dataset.size === `${state.size}`);
    const can = { undo: cloud.past.length, redo: cloud.future.length, clear: cloud.count };
    for (const button of buttons("do")) button.setAttribute("aria-disabled", !can[button.dataset.do]);
    ask();
  }

  function ask() {
    if (cloud) request ||= requestAnimationFrame(draw);
  }

  function draw(time) {
    request = 0;
    const { hold } = TOOLS[state.tool];
    if (stroke && hold) {
      hold(cloud, stroke, before === null ? 0 : Math.min(100, time - before), radius());
      if (!cloud.full) ask();
    }
    before = stroke && hold ? time : null;
    picture.draw(cloud, theme, hovered && { at: hovered, radius: radius() });
    const number = (value) => value.toLocaleString("en");
    const most = cloud.xy.length / 2;
    const text = cloud.full ? labels.full : labels.count;
    counter.textContent = text.replace("{count}", number(cloud.count)).replace("{most}", number(most));
    hint.hidden = cloud.count > 0 || stroke !== null;
    root.classList.toggle("is-full", cloud.full);
    root.dataset.count = cloud.count;
  }

  const sizes = new ResizeObserver(() => {
    picture.size = 0;
    ask();
  });
  sizes.observe(canvas);

  function destroy() {
    clearTimeout(timer);
    cancelAnimationFrame(request);
    request = -1; // so that ask() requests no drawing any more
    sizes.disconnect();
  }

  return { receive, destroy };
}

// Streamlit calls this at every run of the page and at every change of theme, with the same parentElement.
export default function ({ data, parentElement, setStateValue }) {
  const canvas = (parentElement.toydiffCanvas ??= create(parentElement));
  if (data) canvas.receive(data, setStateValue);
  return () => {
    canvas.destroy();
    delete parentElement.toydiffCanvas;
  };
}
