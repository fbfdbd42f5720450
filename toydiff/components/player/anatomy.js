// Step anatomy: what the model did and what the noise did, as two arrows, for one particle. And a lens on them.

import { disc, sx, sy } from "./draw.js";
import { ease } from "./unpack.js";

const PAST_STEPS = 12;
const LENS = 0.38; // side of the lens, as a part of the panel's
const SMALLEST_LENS = 76; // px: below that there is nothing to see
const SMALLEST_LEGEND = 108; // px: below that two numbers do not fit under it

export function drawAnatomy(ctx, view, film, panel, now, moment, i) {
  const k = Math.ceil(moment.position);
  for (let step = Math.max(1, k - PAST_STEPS); step < k; step++) {
    ctx.globalAlpha = 0.55 * (1 - (k - step) / (PAST_STEPS + 1));
    drawStep(ctx, view, stepOf(film, panel, i, step), 1, 1.4);
  }
  ctx.globalAlpha = 1;
  const step = stepOf(film, panel, i, k);
  const part = 1 - (k - moment.position);
  drawStep(ctx, view, step, part, 2.2);
  if (view.size * LENS > SMALLEST_LENS) drawLens(ctx, view, film, panel, now, i, k, part);
}

// Step k of particle i: its start, the mean that the model's step leads to, and its end after the noise.
function stepOf(film, panel, i, k) {
  const B = film.particles;
  const read = (array, frame) => [array[2 * (frame * B + i)], array[2 * (frame * B + i) + 1]];
  const end = read(panel.x, k);
  return k > 0 ? { from: read(panel.x, k - 1), mean: read(panel.mean, k), end } : { from: end, mean: end, end };
}

const apart = ([ax, ay], [bx, by]) => Math.hypot(bx - ax, by - ay);
const between = ([ax, ay], [bx, by], part) => [ax + part * (bx - ax), ay + part * (by - ay)];

// Both arrows as far as they are at this part of the step: the first half is the model's, the second the noise's.
function drawStep(ctx, view, { from, mean, end }, part, width) {
  arrow(ctx, view, from, between(from, mean, ease(Math.min(1, 2 * part))), view.theme.model, width);
  if (part > 0.5) arrow(ctx, view, mean, between(mean, end, ease(2 * part - 1)), view.theme.noise, width);
}

export function arrow(ctx, view, from, to, colour, width) {
  const [x0, y0, x1, y1] = [sx(view, from[0]), sy(view, from[1]), sx(view, to[0]), sy(view, to[1])];
  const length = Math.hypot(x1 - x0, y1 - y0);
  if (length < 0.5) return;
  const head = Math.min(length * 0.6, 3.2 * width); // a short arrow gets a small head: its length is that of the vector
  const [ux, uy] = [(x1 - x0) / length, (y1 - y0) / length];
  const [bx, by] = [x1 - head * ux, y1 - head * uy];
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.lineWidth = width;
  ctx.lineCap = "butt";
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(bx, by);
  ctx.stroke();
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(bx - 0.5 * head * uy, by + 0.5 * head * ux);
  ctx.lineTo(bx + 0.5 * head * uy, by - 0.5 * head * ux);
  ctx.fill();
}

// One magnification for a film and all its panels, so that steps can be compared by eye: nine of ten fit the lens.
export function magnification(film) {
  const extents = [];
  for (const panel of film.panels) {
    if (!panel.mean || panel.shape) continue;
    for (let k = 1; k < film.frames; k++)
      for (let i = 0; i < Math.min(8, film.particles); i++) extents.push(extent(stepOf(film, panel, i, k)));
  }
  extents.sort((a, b) => a - b);
  const usual = extents[Math.floor(0.9 * extents.length)] || 1;
  const fits = (0.8 * LENS * 2 * film.halfWidth) / usual;
  return [40, 30, 20, 15, 10, 8, 6, 5, 4, 3, 2].find((times) => times <= fits) ?? 2;
}

// The particle that is shown if none was chosen: of the first 64, the one that the model moves most. null for images.
export function protagonist(film) {
  const panel = film.panels.find(({ mean, shape }) => mean && !shape);
  let best = panel ? 0 : null;
  let most = 0;
  for (let i = 0; panel && i < Math.min(64, film.particles); i++) {
    let moved = 0;
    for (let k = 1; k < film.frames; k++) {
      const { from, mean } = stepOf(film, panel, i, k);
      moved += apart(from, mean);
    }
    if (moved > most) [best, most] = [i, moved];
  }
  return best;
}

const box = ({ from, mean, end }, axis) => {
  const all = [from[axis], mean[axis], end[axis]];
  return [Math.min(...all), Math.max(...all)];
};
const extent = (step) => Math.max(...[0, 1].map((axis) => box(step, axis)[1] - box(step, axis)[0]));
const middle = (step) => [0, 1].map((axis) => (box(step, axis)[0] + box(step, axis)[1]) / 2);

function drawLens(ctx, view, film, panel, now, i, k, part) {
  const { theme, size } = view;
  const side = Math.round(size * LENS);
  const font = Math.round(Math.min(16, Math.max(11, size * 0.036)));
  const legend = side < SMALLEST_LEGEND ? 0 : 2.9 * font;
  const gap = 8;
  const top = size - gap - side - legend;
  const left = onTheLeft(film, panel, i) ? gap : size - gap - side;
  const card = new Path2D();
  card.roundRect(left, top, side, side + legend, 10);

  ctx.save();
  ctx.fillStyle = theme.paper;
  ctx.fill(card);
  ctx.save();
  ctx.clip(card);
  ctx.beginPath();
  ctx.rect(left, top, side, side);
  ctx.clip();
  drawMagnified(ctx, view, film, panel, now, i, k, part, { left, top, side });
  ctx.restore();

  ctx.strokeStyle = theme.faint;
  ctx.lineWidth = 1.25;
  ctx.stroke(card);
  ctx.font = `600 ${font}px ${view.mono}`;
  ctx.textBaseline = "middle";
  ctx.textAlign = "right";
  ctx.fillStyle = theme.faint;
  ctx.strokeStyle = theme.paper; // an outline, because arrows may pass behind the number
  ctx.lineWidth = 4;
  ctx.strokeText(`×${film.magnification}`, left + side - 8, top + font);
  ctx.fillText(`×${film.magnification}`, left + side - 8, top + font);
  if (legend) drawLegend(ctx, view, film, stepOf(film, panel, i, k), { left, side, font, y: top + side });
  ctx.restore();
}

// The data, the particle and its steps, as the lens shows them.
function drawMagnified(ctx, view, film, panel, now, i, k, part, { left, top, side }) {
  const { theme } = view;
  const step = stepOf(film, panel, i, k);
  // The lens glides from the last step to this one while the first arrow starts to grow, and then keeps still.
  const last = k > 0 ? middle(stepOf(film, panel, i, k - 1)) : middle(step);
  const centre = between(last, middle(step), ease(Math.min(1, 3 * part)));
  const scale = view.scale * film.magnification;
  const inside = { ...view, scale }; // what sx and sy need
  ctx.translate(left + side / 2 - sx(inside, centre[0]), top + side / 2 - sy(inside, centre[1]));

  const reach = side / 2 / scale + 0.1;
  ctx.fillStyle = theme.ghost;
  ctx.beginPath();
  for (let g = 0; g < film.ghost.length; g += 2) {
    const [x, y] = [film.ghost[g], film.ghost[g + 1]];
    if (Math.abs(x - centre[0]) < reach && Math.abs(y - centre[1]) < reach) disc(ctx, inside, x, y, 1.2 * view.radius);
  }
  ctx.fill();
  ctx.globalAlpha = 0.35;
  for (let s = Math.max(1, k - 3); s < k; s++) drawStep(ctx, inside, stepOf(film, panel, i, s), 1, 2);
  ctx.globalAlpha = 1;
  ctx.fillStyle = theme.hues[film.hue[i]];
  ctx.beginPath();
  disc(ctx, inside, now[2 * i], now[2 * i + 1], 1.7 * view.radius);
  ctx.fill();
  drawStep(ctx, inside, step, part, 3.6);
}

// The names of the arrows, and their lengths in the units of the data.
function drawLegend(ctx, { theme }, { labels }, { from, mean, end }, { left, side, font, y }) {
  const lines = [
    [labels.model, theme.model, apart(from, mean)],
    [labels.noise, theme.noise, apart(mean, end)],
  ];
  lines.forEach(([label, colour, length], line) => {
    const at = y + (0.75 + 1.3 * line) * font;
    ctx.fillStyle = colour;
    ctx.fillRect(left + 9, at - 1.5, font, 3);
    ctx.fillStyle = theme.ink;
    ctx.textAlign = "left";
    ctx.fillText(label, left + 15 + font, at);
    ctx.textAlign = "right";
    ctx.fillText(length.toFixed(2), left + side - 9, at);
  });
}

// Whether the lens goes into the left corner: in the lower half, the particle is more often on the right.
function onTheLeft(film, panel, i) {
  let balance = 0;
  for (let k = 0; k < film.frames; k++) {
    const at = 2 * (k * film.particles + i);
    if (panel.x[at + 1] < 0) balance += Math.sign(panel.x[at]);
  }
  return balance > 0;
}
