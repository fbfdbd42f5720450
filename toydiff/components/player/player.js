// The player: holds the film and what is shown of it, and draws when, and only when, something changes.

import { magnification, protagonist } from "./anatomy.js";
import { Clock } from "./clock.js";
import { Controls } from "./controls.js";
import { drawPanel } from "./draw.js";
import { Exports } from "./export.js";
import { imageAt } from "./images.js";
import { Inspector, nearestPlace } from "./inspector.js";
import { listenToKeys } from "./keys.js";
import { aim } from "./layers.js";
import { Marks } from "./marks.js";
import { nearest, Panels, SMALL } from "./panels.js";
import { blend, ease, place, readFilm, readHeader } from "./unpack.js";
import { dressed } from "../theme.js";

const ON_ITS_WAY = 5000; // ms that an export waits, at most, for a layer that was just switched on
const GLIDE = 300; // ms that particles take from an old film's place to a new film's

function create(shadow) {
  const root = shadow.querySelector(".player");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const clock = new Clock();
  const state = { clock, on: {}, kind: 0, enlarged: null, followed: null, pinned: null, hovered: null, picked: null };
  const wanted = new Set(); // layers that have been switched on
  const marks = new Marks();
  const panels = new Panels(root);
  let film = null;
  let theme = null;
  let view = null; // null: the size on the page is to be measured again
  let tell = () => {};
  let visible = false;
  let request = 0;
  let before = null; // when the last picture was drawn, if it was part of a movement
  let written = null; // the frame whose texts are on screen
  let asked = false; // a place was picked, and the page has not answered yet
  let richer = false; // the next film is this one with more layers
  let glide = null; // { from: places of each panel's particles, left: ms }

  const act = {
    play: () => change(() => (clock.playing ? clock.pause() : clock.play())),
    back: () => act.skip(-1),
    forward: () => act.skip(1),
    skip: (frames) => change(() => clock.skip(frames)),
    seek: (frame) => change(() => ((clock.playing = false), clock.seek(Math.min(frame, clock.last)))),
    speed: (speed) => change(() => (clock.speed = speed)),
    toggle(name) {
      change(() => (state.on[name] = !state.on[name]));
      fetchLayers();
    },
    kind: (kind) => change(() => ((state.kind = kind), (written = null))),
    enlarge(panel) {
      state.enlarged = state.enlarged === null ? panel : null;
      panels.enlarge(state.enlarged, film.labels);
      view = null;
      change();
    },
    escape() {
      if (state.enlarged === null) return false;
      act.enlarge(null);
    },
  };

  const controls = new Controls(root, act);
  const inspector = new Inspector(root);
  const exports = new Exports(root, shoot);
  panels.onEnlarge = act.enlarge;
  panels.onTwice = (p) => film.options.pick || act.enlarge(p); // two quick picks do not enlarge
  panels.onPoint = (p, x, y) => {
    if (view && film.field?.spacing && !film.panels[p].shape) read({ hovered: nearestPlace(view, film, x, y) });
  };
  panels.onLeave = () => read({ hovered: null });
  panels.onClick = (p, x, y) => {
    if (!view) return;
    const panel = film.panels[p];
    if (film.options.pick && !panel.shape) return pick(x, y);
    if (view.size < SMALL && state.enlarged === null) return act.enlarge(p);
    if (panel.shape) return follow(imageAt(view, film, panel, x, y));
    if (film.field?.spacing) pin(nearestPlace(view, film, x, y));
    if (state.on.particles) follow(nearest(view, panels.cards[p].now, x, y));
  };

  function follow(found) {
    change(() => (state.followed = found === state.followed ? null : found));
    report();
  }

  function pick(x, y) {
    const { size, scale } = view;
    asked = true;
    change(() => (state.picked = [(x - size / 2) / scale, (size / 2 - y) / scale]));
    report();
  }

  // Asks Python for the layers that are on but were never sent: it sends the same film again, with them.
  function fetchLayers() {
    const { density, panels, options } = film;
    const has = { guess: panels.some(({ x0 }) => x0), anatomy: panels.some(({ mean }) => mean), density };
    const missing = options.offers.filter((name) => state.on[name] && !has[name]);
    if (!missing.length) return;
    missing.forEach((name) => wanted.add(name));
    richer = true;
    tell("layers", [...wanted]);
  }

  // Tells Python what was chosen, only on pages that ask for it: the others do not use it.
  function report() {
    const { choose, pick } = film.options;
    if (choose || pick) tell("chosen", { followed: state.followed, picked: state.picked });
  }

  // Which arrow is read: the one under the pointer, or else the one that was clicked.
  function read(which) {
    const before = state.hovered ?? state.pinned;
    Object.assign(state, which);
    if (before === (state.hovered ?? state.pinned)) return;
    written = null;
    ask();
  }

  function pin(place) {
    read({ pinned: place === state.pinned ? null : place });
  }

  function change(how = () => {}) {
    how();
    clock.loop = state.on.loop;
    clock.slow = state.on.anatomy && film.panels.some((panel) => panel.mean);
    if (still.matches && !clock.playing) clock.seek(clock.target); // no movement without a request
    controls.show(state);
    ask();
  }

  // A copy of what is shown, for the files to take home: later presses do not change them. A layer that was just
  // switched on belongs to it, so it waits for that.
  async function shoot() {
    for (let ms = 0; richer && ms < ON_ITS_WAY; ms += 50) await new Promise((done) => setTimeout(done, 50));
    const { enlarged, kind, followed, picked } = state;
    const moment = { on: { ...state.on }, kind, followed, picked, fresh: 1, inspected: null };
    const [sans, mono] = [root, panels.cards[0].clock].map((element) => getComputedStyle(element).fontFamily);
    return { film, theme, moment, enlarged, sans, mono };
  }

  // Takes Python's data, at every run of the page: mostly the film that is here already.
  function receive(data, setStateValue) {
    tell = setStateValue;
    const packed = readHeader(data);
    if (packed.header.hash !== film?.hash) load(readFilm(packed));
    theme = dressed(root, film.themes);
    view = null;
    ask();
  }

  function load(next) {
    const old = film;
    film = next;
    film.magnification = magnification(film);
    film.protagonist = protagonist(film);
    root.dataset.hash = film.hash;
    // The same particles go to their new places; others are simply there. A running film that grew just runs on.
    const shapes = ({ particles, panels }) => JSON.stringify([particles, panels.map(({ shape }) => shape)]);
    const same = old && shapes(old) === shapes(film);
    const grew = film.options.followEnd && clock.playing;
    const moves = same && !grew && !richer && !still.matches;
    glide = moves ? { from: panels.cards.map(({ now }) => now.slice()), left: GLIDE } : null;
    richer = false;
    if (old?.particles !== film.particles) state.followed = film.options.follow;
    if (state.enlarged >= film.panels.length) state.enlarged = null;
    if (!old) Object.assign(state.on, film.options.show);
    if (!asked) state.picked = null; // this film does not answer the pick, so its mark is outdated
    asked = false;
    if (old?.field?.count !== film.field?.count) state.pinned = state.hovered = null;
    if (state.kind >= (film.field?.kinds.length ?? 1)) state.kind = 0;
    panels.fill(film);
    controls.fill(film);
    inspector.fill(film);
    exports.fill(film);
    panels.enlarge(state.enlarged, film.labels);
    seekNew(old);
    view = written = null;
    marks.looked = -Infinity;
    change();
  }

  function seekNew(old) {
    const { autoplay, followEnd } = film.options;
    const { last, position, target } = clock;
    clock.last = film.last;
    if (!old) {
      clock.playing = autoplay && !still.matches && film.last > 0;
      clock.seek(still.matches || followEnd ? film.last : 0);
      if (clock.playing) clock.seek(0);
    } else if (followEnd) {
      // Frames are added at the end: the others keep their number.
      if (!clock.playing) clock.seek(target >= last ? film.last : target);
    } else {
      const scale = last > 0 ? film.last / last : 1;
      if (clock.playing) clock.position = position * scale;
      else clock.seek(last > 0 ? target * scale : film.last);
    }
    if (film.last === 0) clock.playing = false;
    clock.position = Math.min(clock.position, film.last);
  }

  function ask() {
    if (visible && film && !request) request = requestAnimationFrame(draw);
  }

  function draw(time) {
    request = 0;
    const ms = before === null ? 0 : Math.min(100, time - before);
    clock.advance(ms);
    if (glide && (glide.left -= ms) <= 0) glide = null;
    if (!view && (view = panels.measure(film, theme))) {
      inspector.reserve(film);
      written = null;
    }
    if (!view) return;

    const there = glide ? 1 - glide.left / GLIDE : 1;
    // Trails fade in behind new particles. In a film that grew they are right at once: the glide is its newest step.
    const moment = { ...state, position: clock.position, fresh: film.options.followEnd ? 1 : there };
    moment.inspected = state.hovered ?? state.pinned;
    if (film.field) moment.reach = aim(film, view, state.kind, state.on.equal, clock.position);
    film.panels.forEach((panel, p) => {
      const { ctx, now, element, cache } = panels.cards[p];
      place(panel, clock.position, clock.slow, moment.on.guess, now);
      if (glide) blend(glide.from[p], now, ease(there), now);
      if (!element.hidden) drawPanel(ctx, view, film, panel, now, moment, cache);
    });

    controls.move(clock);
    if (root.dataset.playing !== String(clock.playing)) controls.show(state); // the film ended by itself
    if (written !== clock.frame) {
      written = clock.frame;
      panels.write(film, written);
      controls.write(film, written);
      inspector.show(film, state.kind, moment.inspected, written);
    }
    markTick();
    before = clock.moving || glide ? time : null;
    if (before !== null) ask();
  }

  function markTick() {
    const at = clock.playing ? clock.position : clock.frame;
    const [low, high] = [film.ticks[Math.floor(at)], film.ticks[Math.ceil(at)]];
    if (low !== undefined) marks.move(film.options.marks, low + (at % 1) * (high - low), theme.model, ask);
  }

  const sizes = new ResizeObserver(() => {
    view = null;
    ask();
  });
  const sight = new IntersectionObserver((seen) => {
    visible = seen.at(-1).isIntersecting; // the newest entry: there may be several at once
    before = null;
    ask();
  });
  sizes.observe(root);
  sight.observe(root);
  const deafen = listenToKeys(root, () => visible && film !== null && film.last > 0, act);

  function destroy() {
    cancelAnimationFrame(request);
    request = -1; // so that ask() requests no drawing any more
    sizes.disconnect();
    sight.disconnect();
    deafen();
    marks.clear();
  }

  return { receive, destroy };
}

// Streamlit calls this at every run of the page and at every change of theme, with the same parentElement.
export default function ({ data, parentElement, setStateValue }) {
  const player = (parentElement.toydiffPlayer ??= create(parentElement));
  if (data?.length) player.receive(data, setStateValue);
  return () => {
    player.destroy();
    delete parentElement.toydiffPlayer;
  };
}
