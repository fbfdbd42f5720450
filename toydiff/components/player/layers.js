// The layers under the particles: a heat map, contours of the density, arrows. Numbers are in data units, as they come
// from Python; lengths on the screen are CSS pixels.

import { arrow } from "./anatomy.js";
import { disc, sx, sy } from "./draw.js";

const LEVELS = [0.1, 0.3, 0.5, 0.7, 0.9]; // the shares of the mass that contours enclose
const STRONGEST_HEAT = 0.85; // opacity: the grid and the data still show through
const LONGEST = 1.6; // spacings: longer arrows are drawn this long
const WEAKEST = 1 / 3; // spacings: usual length, at least, of arrows in the panel with the shortest ones
const EQUAL = 0.8; // spacings: the length of all arrows if they are shown equally long
const RING = 11; // px: the radius of the ring around the arrow that is read
const CLOSEST = 9; // px between arrows: where they would stand closer, rows and columns are left out

export function drawLayers(ctx, view, film, panel, moment, cache) {
  if (panel.heat) drawHeat(ctx, view, film, panel, moment.position, cache);
  if (film.density && moment.on.density) drawContours(ctx, view, film, moment.position);
  if (panel.arrows && film.field.spacing) drawField(ctx, view, film, panel, moment.reach);
}

// Over the particles: the few arrows that are shown as they are, and the one that is being read.
export function drawOverlay(ctx, view, film, panel, moment) {
  if (panel.arrows && !film.field.spacing) {
    for (let i = 0; i < film.field.count; i++) outlined(ctx, view, film, panel.vectors, i, 1, 3, 4.5);
  } else if (panel.arrows && moment.inspected !== null) {
    const reach = moment.reach(panel.vectors, moment.inspected);
    drawRing(ctx, view, film.field.places, moment.inspected);
    outlined(ctx, view, film, panel.vectors, moment.inspected, reach, 2, 2);
  }
  if (moment.picked) drawCross(ctx, view, moment.picked);
}

// An arrow with a ring at its place, because it may be too short to be seen.
function outlined(ctx, view, { field }, vectors, i, reach, width, ring) {
  const from = [field.places[2 * i], field.places[2 * i + 1]];
  const to = [from[0] + reach * vectors[2 * i], from[1] + reach * vectors[2 * i + 1]];
  arrow(ctx, view, from, to, view.theme.paper, width + 2.5);
  ctx.fillStyle = view.theme.paper;
  ctx.strokeStyle = view.theme.model;
  ctx.lineWidth = 0.6 * width;
  ctx.beginPath();
  disc(ctx, view, ...from, ring);
  ctx.fill();
  ctx.stroke();
  arrow(ctx, view, from, to, view.theme.model, width);
}

function drawRing(ctx, view, places, i) {
  ctx.beginPath();
  disc(ctx, view, places[2 * i], places[2 * i + 1], RING);
  for (const [colour, width] of [[view.theme.paper, 5], [view.theme.model, 2]]) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.stroke();
  }
}

function drawCross(ctx, view, [x, y]) {
  const [px, py] = [sx(view, x), sy(view, y)];
  const path = new Path2D(`M${px - 7} ${py}H${px + 7}M${px} ${py - 7}V${py + 7}`);
  for (const [colour, width] of [[view.theme.paper, 4.5], [view.theme.ink, 1.8]]) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.stroke(path);
  }
}

// Sets the `vectors` of all panels at a position between frames, in the chosen kind: x · place + value · arrow.
// Returns a function of a panel's vectors and an index: the factor by which that arrow is drawn out.
export function aim(film, view, kind, equal, position) {
  const { places, kinds, spacing } = film.field;
  const { x, value } = kinds[kind] ?? kinds[0];
  const k = Math.ceil(position);
  const from = Math.max(0, k - 1);
  const part = 1 - (k - position);
  const size = places.length;
  const squares = []; // the mean square of the lengths in each panel
  for (const { arrows, vectors } of film.panels) {
    if (!arrows) continue;
    let sum = 0;
    for (let i = 0; i < size; i++) {
      const start = x[from] * places[i] + value[from] * arrows[from * size + i];
      const end = x[k] * places[i] + value[k] * arrows[k * size + i];
      vectors[i] = start + part * (end - start);
      sum += vectors[i] ** 2;
    }
    squares.push(sum / film.field.count);
  }
  const room = spacing * stride(view, film);
  // One scale for all panels. The root mean square of all lengths becomes one spacing, unless a panel would vanish.
  const all = squares.reduce((sum, square) => sum + square, 0) / squares.length;
  const weakest = Math.min(...squares.filter((square) => square > 0));
  const usual = room / (Math.sqrt(Math.min(all, weakest / WEAKEST ** 2)) || 1);
  return (vectors, i) => {
    const length = Math.hypot(vectors[2 * i], vectors[2 * i + 1]);
    return equal ? (EQUAL * room) / (length || 1) : Math.min(usual, (LONGEST * room) / (length || 1));
  };
}

const stride = (view, { field }) => Math.max(1, Math.ceil(CLOSEST / (field.spacing * view.scale)));

// The places that have room for an arrow on a canvas of this size: all of a large one, every second row and column of a
// small one.
export function standing(view, film) {
  if (view.standing) return view.standing;
  const { places, count, spacing } = film.field;
  const every = stride(view, film);
  const lowest = [0, 1].map((axis) => Math.min(...places.filter((_, i) => i % 2 === axis)));
  const shown = (i, axis) => Math.round((places[2 * i + axis] - lowest[axis]) / spacing) % every === every >> 1;
  const all = [...Array(count).keys()];
  return (view.standing = every === 1 ? all : all.filter((i) => shown(i, 0) && shown(i, 1)));
}

// All of a field in one stroke.
function drawField(ctx, view, film, { vectors }, reach) {
  const { places } = film.field;
  const most = 0.34 * film.field.spacing * stride(view, film) * view.scale; // px: the longest head
  ctx.beginPath();
  for (const i of standing(view, film)) {
    const far = reach(vectors, i) * view.scale;
    const [dx, dy] = [far * vectors[2 * i], -far * vectors[2 * i + 1]];
    const length = Math.hypot(dx, dy);
    if (length < 0.5) continue;
    const [x, y] = [sx(view, places[2 * i]), sy(view, places[2 * i + 1])];
    const [tx, ty] = [x + dx, y + dy];
    const head = Math.min(0.45 * length, most) / length;
    const [bx, by] = [tx - head * dx, ty - head * dy];
    const [wx, wy] = [-0.55 * head * dy, 0.55 * head * dx];
    ctx.moveTo(x, y);
    ctx.lineTo(tx, ty);
    ctx.moveTo(bx + wx, by + wy);
    ctx.lineTo(tx, ty);
    ctx.lineTo(bx - wx, by - wy);
  }
  ctx.strokeStyle = view.theme.ink;
  ctx.globalAlpha = 0.62;
  ctx.lineWidth = 1;
  ctx.lineJoin = "miter";
  ctx.lineCap = "butt";
  ctx.stroke();
  ctx.globalAlpha = 1;
}

// A pixel per cell, in one colour of varying opacity; the browser makes it large and smooth.
function drawHeat(ctx, view, film, { heat }, position, cache) {
  const { m, values } = heat;
  const cells = m * m;
  const k = Math.ceil(position);
  const from = Math.max(0, k - 1);
  const part = 1 - (k - position);
  const colour = view.theme.hues[1];
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  if (cache.heat?.width !== m) {
    cache.heat = document.createElement("canvas");
    cache.heat.width = cache.heat.height = m;
  }
  const picture = new ImageData(m, m);
  for (let row = 0; row < m; row++) {
    for (let column = 0; column < m; column++) {
      const cell = row * m + column;
      const start = values[from * cells + cell];
      const alpha = start + part * (values[k * cells + cell] - start);
      picture.data.set([r, g, b, STRONGEST_HEAT * alpha], 4 * ((m - 1 - row) * m + column)); // row 0 is the lowest y
    }
  }
  cache.heat.getContext("2d").putImageData(picture, 0, 0);
  ctx.imageSmoothingEnabled = true;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(cache.heat, 0, 0, view.size, view.size);
}

// The colour scale, from 0 to heatMax, in the upper right corner.
export function drawScale(ctx, view, film) {
  const { size, theme } = view;
  const font = Math.round(Math.min(14, Math.max(9, 0.034 * size)));
  const [ramp, high] = [4.5 * font, 0.7 * font];
  const text = figure(film.heatMax);
  ctx.font = `600 ${font}px ${view.mono}`;
  ctx.textBaseline = "middle";
  const width = ramp + ctx.measureText(`0${text}`).width + 2.2 * font;
  const [left, y] = [size - width - 6, 6 + 0.8 * font];
  ctx.fillStyle = theme.paper;
  ctx.globalAlpha = 0.85;
  ctx.beginPath();
  ctx.roundRect(left, 6, width, 1.6 * font, 5);
  ctx.fill();
  ctx.globalAlpha = 1;
  ctx.fillStyle = theme.faint;
  ctx.textAlign = "left";
  ctx.fillText("0", left + 0.6 * font, y);
  ctx.textAlign = "right";
  ctx.fillText(text, left + width - 0.6 * font, y);
  const start = left + 1.1 * font + ctx.measureText("0").width;
  const colours = ctx.createLinearGradient(start, 0, start + ramp, 0);
  const strongest = Math.round(255 * STRONGEST_HEAT).toString(16);
  colours.addColorStop(0, `${theme.hues[1]}00`);
  colours.addColorStop(1, theme.hues[1] + strongest);
  ctx.fillStyle = colours;
  ctx.fillRect(start, y - high / 2, ramp, high);
  ctx.lineWidth = 1;
  ctx.strokeStyle = theme.axis;
  ctx.strokeRect(start, y - high / 2, ramp, high);
}

// Lines around the smallest regions that hold 10 % ... 90 % of the mass, at the nearest time there is.
function drawContours(ctx, view, film, position) {
  const { density } = film;
  const [low, high] = [film.ticks[Math.floor(position)], film.ticks[Math.ceil(position)]];
  const tick = low + (position % 1) * (high - low);
  let nearest = 0;
  density.t.forEach((t, i) => {
    if (Math.abs(t - tick) < Math.abs(density.t[nearest] - tick)) nearest = i;
  });
  const cache = (view.contours ??= {}); // lines in pixels, the same in all panels
  cache[nearest] ??= LEVELS.map((level) => contour(view, density, nearest, 255 * level));
  ctx.strokeStyle = view.theme.faint;
  cache[nearest].forEach((path, i) => {
    const outer = i / (LEVELS.length - 1);
    ctx.globalAlpha = 0.9 - 0.35 * outer;
    ctx.lineWidth = 1.7 - 0.8 * outer;
    ctx.stroke(path);
  });
  ctx.globalAlpha = 1;
}

// Marching squares: in every square between four cells, the line at which the value is the level.
function contour(view, { values, m }, frame, level) {
  const path = new Path2D();
  const at = frame * m * m;
  const cell = view.size / m;
  const x = (column) => (column + 0.5) * cell;
  const y = (row) => view.size - (row + 0.5) * cell;
  for (let row = 0; row < m - 1; row++) {
    for (let column = 0; column < m - 1; column++) {
      const corner = at + row * m + column;
      const [a, b, c, d] = [values[corner], values[corner + 1], values[corner + m + 1], values[corner + m]];
      const crossings = [];
      if (a < level !== b < level) crossings.push([x(column + (level - a) / (b - a)), y(row)]);
      if (b < level !== c < level) crossings.push([x(column + 1), y(row + (level - b) / (c - b))]);
      if (d < level !== c < level) crossings.push([x(column + (level - d) / (c - d)), y(row + 1)]);
      if (a < level !== d < level) crossings.push([x(column), y(row + (level - a) / (d - a))]);
      // On a saddle all four sides are crossed: the mean of the corners decides which two belong together.
      if (crossings.length === 4 && a < level === (a + b + c + d) / 4 < level) crossings.push(crossings.shift());
      for (let i = 0; i < crossings.length; i += 2) {
        path.moveTo(...crossings[i]);
        path.lineTo(...crossings[i + 1]);
      }
    }
  }
  return path;
}

// Three digits; whole numbers from 1,000 to 100,000.
export function figure(value) {
  const size = Math.abs(value);
  const text = size >= 1e5 ? value.toExponential(2) : size >= 1000 ? value.toFixed(0) : Number(value.toPrecision(3));
  return String(text).replaceAll("-", "−");
}
