// Reads one arrow: its place, its value in each panel, and how two of them differ. The line under the panels always has
// as many rows as its longest text may need.

import { sx, sy, TURN } from "./draw.js";
import { figure, standing } from "./layers.js";

const WIDEST = -0.000888; // a long number

export class Inspector {
  constructor(root) {
    this.root = root;
    this.line = root.querySelector(".inspector");
  }

  fill(film) {
    this.line.hidden = !film.field?.spacing;
    this.root.classList.toggle("inspects", !this.line.hidden);
  }

  reserve(film) {
    if (this.line.hidden) return;
    this.line.style.minHeight = "";
    const longest = film.panels.filter(({ arrows }) => arrows).map(({ title }) => [title, [WIDEST, WIDEST]]);
    this.put(film, sentence(film.labels, [WIDEST, WIDEST], longest));
    this.line.style.minHeight = `${this.line.offsetHeight}px`;
  }

  // The arrows of a place at a whole frame; place null: a hint to point at one.
  show(film, kind, place, frame) {
    if (this.line.hidden) return;
    if (place === null) return this.put(film, [film.labels.hint]);
    const { places, kinds } = film.field;
    const { x, value } = kinds[kind] ?? kinds[0];
    const at = [places[2 * place], places[2 * place + 1]];
    const read = (arrows, axis) => x[frame] * at[axis] + value[frame] * arrows[frame * places.length + 2 * place + axis];
    const shown = film.panels.filter(({ arrows }) => arrows);
    const vectors = shown.map(({ title, arrows }) => [title, [read(arrows, 0), read(arrows, 1)]]);
    this.put(film, sentence(film.labels, at, vectors));
  }

  put(film, parts) {
    const texts = parts.map((text) => {
      const part = document.createElement("span");
      part.textContent = text;
      return part;
    });
    this.line.replaceChildren(...texts);
  }
}

// The texts about a place and the vectors there, [title, [x, y]] each.
function sentence(labels, [x, y], vectors) {
  const parts = [filled(labels.inspect, { x: figure(x), y: figure(y) })];
  for (const [panel, [u, v]] of vectors) parts.push(filled(labels.vector, { panel, x: figure(u), y: figure(v) }));
  if (vectors.length !== 2) return parts;
  const [[, [ax, ay]], [, [bx, by]]] = vectors;
  const [a, b] = [Math.hypot(ax, ay), Math.hypot(bx, by)];
  if (a === 0 || b === 0) return parts;
  const angle = (Math.abs(Math.atan2(ax * by - ay * bx, ax * bx + ay * by)) * 360) / TURN;
  return [...parts, filled(labels.angle, { angle: angle.toFixed(1) }), filled(labels.ratio, { ratio: figure(a / b) })];
}

export const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

// Of the places that have an arrow on the canvas, the one nearest to a point of it.
export function nearestPlace(view, film, px, py) {
  const { places } = film.field;
  const away = (i) => Math.hypot(sx(view, places[2 * i]) - px, sy(view, places[2 * i + 1]) - py);
  return standing(view, film).reduce((best, i) => (away(i) < away(best) ? i : best));
}
