// The cards: one for each panel, with its texts and its canvas. `nearest` finds the particle under a click.

import { background, sx, sy } from "./draw.js";

const TOUCH = 18; // px around a particle that count as the particle
export const SMALL = 190; // px: in smaller canvases a tap enlarges instead of choosing a particle

export class Panels {
  constructor(root) {
    this.root = root;
    this.host = root.querySelector(".panels");
    this.template = root.querySelector("template");
    this.cards = [];
  }

  // As many cards as the film has panels; cards that are there stay, and so do their canvases.
  fill(film) {
    while (this.cards.length > film.panels.length) this.cards.pop().element.remove();
    while (this.cards.length < film.panels.length) this.add(this.cards.length);
    film.panels.forEach((panel, p) => {
      const card = this.cards[p];
      card.title.textContent = panel.title;
      card.formula.textContent = panel.formula;
      card.canvas.setAttribute("aria-label", [panel.title, panel.formula].filter(Boolean).join(": "));
      card.element.classList.toggle("no-note", !film.panels.some(({ notes }) => notes.length));
      card.element.classList.toggle("images", Boolean(panel.shape));
      if (card.now?.length !== panel.size) card.now = new Float32Array(panel.size);
    });
    this.clock = film.clock;
    const longest = Math.max(0, ...film.ticks.map((tick) => clockText(film, tick).length));
    this.root.style.setProperty("--tick", `${longest}ch`);
  }

  add(p) {
    const element = this.template.content.cloneNode(true).firstElementChild;
    const part = (name) => element.querySelector(name);
    const names = ["title", "formula", "clock", "note", "resize"];
    const parts = Object.fromEntries(names.map((name) => [name, part(`.${name}`)]));
    const card = { element, canvas: part("canvas"), ...parts };
    card.ctx = card.canvas.getContext("2d");
    card.cache = {}; // what drawPanel keeps from one drawing to the next
    card.resize.onclick = () => this.onEnlarge(p);
    card.canvas.onclick = (event) => this.onClick(p, event.offsetX, event.offsetY);
    card.canvas.ondblclick = () => this.onTwice(p);
    card.canvas.onpointermove = (event) => this.onPoint(p, event.offsetX, event.offsetY);
    card.canvas.onpointerleave = () => this.onLeave();
    this.cards.push(card);
    this.host.append(element);
  }

  // Show one panel, or all of them (null).
  enlarge(panel, labels) {
    this.root.classList.toggle("enlarged", panel !== null);
    this.root.style.setProperty("--columns", panel === null ? Math.max(1, this.cards.length) : 1);
    this.cards.forEach(({ element, resize }, p) => {
      element.hidden = panel !== null && p !== panel;
      resize.title = panel === null ? labels.enlarge : labels.shrink;
      resize.setAttribute("aria-label", `${resize.title}: ${element.querySelector(".title").textContent}`);
    });
  }

  // The view that all canvases share at their present size on the page; null while they have none.
  measure(film, theme) {
    const shown = this.cards.find(({ element }) => !element.hidden);
    const size = shown ? Math.floor(shown.canvas.getBoundingClientRect().width) : 0;
    if (size < 8) return null;
    this.root.classList.toggle("small", size < SMALL);
    this.root.style.setProperty("--size", `${size}px`);
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const view = viewOf(film, theme, getComputedStyle(shown.clock).fontFamily, size, ratio);
    for (const { canvas } of this.cards) canvas.width = canvas.height = Math.round(size * ratio); // also clears it
    this.reserveNotes(film, shown.note);
    return view;
  }

  // Reserves lines for the longest note of the film from the start, because nothing may jump while it plays.
  reserveNotes(film, note) {
    const style = getComputedStyle(note);
    const pen = (this.pen ??= document.createElement("canvas").getContext("2d"));
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const widest = Math.max(0, ...film.panels.flatMap(({ notes }) => notes.map((text) => pen.measureText(text).width)));
    const lines = Math.ceil((1.06 * widest) / Math.max(1, note.clientWidth));
    this.root.style.setProperty("--lines", Math.min(3, Math.max(1, lines)));
  }

  write(film, frame) {
    const text = clockText(film, film.ticks[frame]);
    film.panels.forEach(({ notes, still }, p) => {
      const card = this.cards[p];
      card.clock.textContent = still ? "" : text; // a still panel has no time
      card.note.textContent = notes[Math.min(frame, notes.length - 1)] ?? "";
    });
  }
}

// The view: everything that canvases of one size share.
export function viewOf(film, theme, mono, size, ratio) {
  const { look } = film;
  const crowd = film.particles > look.crowd ? look.crowded : 1;
  const view = { size, ratio, theme, mono, scale: size / (2 * film.halfWidth) };
  view.radius = crowd * Math.min(5, Math.max(1.7, (size / look.side) * look.dot));
  view.layer = background(view, film);
  return view;
}

export function clockText(film, tick) {
  return `${film.labels.clock} ${tick ?? 0}`;
}

// The particle nearest to a place on the canvas, or null when there is none within reach.
export function nearest(view, now, px, py) {
  let best = null;
  let least = TOUCH ** 2;
  for (let i = 0; i < now.length / 2; i++) {
    const away = (sx(view, now[2 * i]) - px) ** 2 + (sy(view, now[2 * i + 1]) - py) ** 2;
    if (away < least) [best, least] = [i, away];
  }
  return best;
}
