// Pictures to take home, drawn by the code of the page's panels. Lengths are points: a panel is `look.side` of them wide.
// `shot` is what is shown at the time of the request: { film, theme, moment, enlarged, sans, mono }.

import { drawPanel } from "./draw.js";
import { aim } from "./layers.js";
import { clockText, viewOf } from "./panels.js";
import { place } from "./unpack.js";

const [COLUMN, ABOVE, LARGE, SMALLER, SIGNED] = [220, 44, 20, 16, 17]; // of a strip: title width, clock height, fonts

// One panel on a canvas of its own, at any frame.
class Cell {
  constructor(shot, panel, view) {
    Object.assign(this, { shot, panel, view, cache: {}, now: new Float32Array(panel.size) });
    this.ctx = paperOf(view.size, view.size);
  }

  draw(frame, reach) {
    const { film, moment } = this.shot;
    place(this.panel, frame, false, moment.on.guess, this.now);
    drawPanel(this.ctx, this.view, film, this.panel, this.now, { ...moment, position: frame, reach }, this.cache);
    return this.ctx.canvas;
  }
}

class Sheet {
  constructor(shot, panels, size) {
    const { film, theme, mono } = shot;
    Object.assign(this, { ...shot, size, look: film.look, unit: size / film.look.side });
    this.view = viewOf(film, theme, mono, size, 1);
    this.cells = panels.map((panel) => new Cell(shot, panel, this.view));
    this.pen = document.createElement("canvas").getContext("2d"); // to measure texts with
  }

  // Opens an empty sheet of this size.
  open(width, height) {
    this.width = width;
    this.ctx = paperOf(Math.round(width * this.unit), Math.round(height * this.unit));
    this.fill(0, 0, width + 1, height + 1, this.theme.page); // to the last pixel, after rounding
  }

  fill(x, y, width, height, colour) {
    this.ctx.fillStyle = colour;
    this.ctx.fillRect(...[x, y, width, height].map((length) => length * this.unit));
  }

  // The paper of a panel, with its upper left corner at (x, y).
  card(x, y, height) {
    const { ctx, unit, theme, look } = this;
    ctx.beginPath();
    ctx.roundRect(x * unit, y * unit, look.side * unit, height * unit, look.corner * unit);
    ctx.fillStyle = theme.paper;
    ctx.strokeStyle = theme.axis;
    ctx.lineWidth = unit;
    ctx.fill();
    ctx.stroke();
  }

  // The panels at a frame: their canvases.
  drawn(frame) {
    const { film, moment, view } = this;
    const reach = film.field && aim(film, view, moment.kind, moment.on.equal, frame);
    return this.cells.map((cell) => cell.draw(frame, reach));
  }

  paste(canvas, x, y) {
    this.ctx.drawImage(canvas, Math.round(x * this.unit), Math.round(y * this.unit));
  }

  font(size, { weight = 400, family = this.sans } = {}) {
    return `${weight} ${size * this.unit}px ${family}`;
  }

  // Lines of text, the first one's baseline at (x, y).
  write(lines, x, y, size, { colour = this.theme.ink, align = "left", ...font } = {}) {
    const { ctx, unit, look } = this;
    ctx.font = this.font(size, font);
    ctx.fillStyle = colour;
    ctx.textAlign = align;
    ctx.textBaseline = "alphabetic";
    lines.forEach((line, i) => ctx.fillText(line, x * unit, (y + i * look.leading * size) * unit));
  }

  // The text in lines no wider than `room`; longer words are split. Beyond `most` lines, the last ends in an ellipsis.
  wrapped(text, room, size, { most = Infinity, ...font } = {}) {
    this.pen.font = this.font(size, font);
    const fits = (line) => this.pen.measureText(line).width <= room * this.unit;
    const lines = [];
    for (let word of text.split(" ").filter(Boolean)) {
      const line = lines.length ? `${lines.at(-1)} ${word}` : word;
      if (lines.length && fits(line)) {
        lines[lines.length - 1] = line;
        continue;
      }
      for (let piece = beginning(word, fits); piece !== word; piece = beginning(word, fits)) {
        lines.push(piece);
        word = word.slice(piece.length);
      }
      lines.push(word);
    }
    if (lines.length <= most) return lines;
    const rest = lines.slice(most - 1).join(" ");
    return [...lines.slice(0, most - 1), `${beginning(rest, (line) => fits(`${line}…`))}…`];
  }

  // The height that the longest of some texts takes.
  tall(texts, room, size) {
    const lines = Math.max(0, ...[...new Set(texts)].map((text) => this.wrapped(text, room, size).length));
    return lines && lines * this.look.leading * size + 6;
  }

  pixels() {
    const { width, height } = this.ctx.canvas;
    return this.ctx.getImageData(0, 0, width, height);
  }
}

// The beginning of a text that fits: one letter, at least.
function beginning(text, fits) {
  const letters = [...text];
  while (letters.length > 1 && !fits(letters.join(""))) letters.pop();
  return letters.join("");
}

// The film: its panels side by side, with all texts around them.
export class FilmSheet extends Sheet {
  constructor(shot) {
    const panels = shot.film.panels.filter((_, p) => shot.enlarged === null || p === shot.enlarged);
    const { look } = shot.film;
    super(shot, panels, look.pixels[panels.length - 1] ?? look.side);
    const width = 2 * look.edge + panels.length * (look.side + look.gap) - look.gap;
    const notes = panels.flatMap((panel) => panel.notes);
    const below = Math.max(look.corner, this.tall(notes, look.side - 18, look.note));
    this.floor = look.edge + look.head + look.side; // y of the panels' lower edge
    const room = width - 2 * look.edge;
    this.stamp = this.wrapped(this.film.stamp, room, look.stamp);
    this.open(width, this.floor + below + look.edge + this.tall([this.film.stamp], room, look.stamp));
    const baseline = this.floor + below + 6 + look.stamp;
    this.write(this.stamp, look.edge + 2, baseline, look.stamp, { colour: this.theme.faint });
    this.left = (p) => look.edge + p * (look.side + look.gap);
    panels.forEach((panel, p) => {
      this.card(this.left(p), look.edge, look.head + look.side + below);
      const clock = Math.max(...this.film.ticks.map((tick) => this.clockRoom(tick)));
      const title = this.wrapped(panel.title, look.side - 27 - clock, look.title, { most: 1, weight: 700 });
      this.write(title, this.left(p) + 9, look.edge + 19, look.title, { weight: 700 });
      const formula = this.wrapped(panel.formula, look.side - 18, look.formula, { most: 1 });
      this.write(formula, this.left(p) + 9, look.edge + 35, look.formula, { colour: this.theme.faint });
    });
    this.still = this.pixels(); // the static parts, drawn once
  }

  clockRoom(tick) {
    this.pen.font = this.font(this.look.clock, { weight: 700, family: this.mono });
    return this.pen.measureText(clockText(this.film, tick)).width / this.unit;
  }

  // The picture at a frame.
  picture(frame) {
    const { look } = this;
    this.ctx.putImageData(this.still, 0, 0);
    this.drawn(frame).forEach((canvas, p) => {
      const { panel } = this.cells[p];
      const x = this.left(p);
      this.paste(canvas, x, look.edge + look.head);
      const clock = panel.still ? "" : clockText(this.film, this.film.ticks[frame]); // a still panel has no time
      const bold = { weight: 700, family: this.mono, align: "right" };
      this.write([clock], x + look.side - 9, look.edge + 20, look.clock, bold);
      const note = panel.notes[Math.min(frame, panel.notes.length - 1)] ?? "";
      const lines = this.wrapped(note, look.side - 18, look.note);
      this.write(lines, x + 9, this.floor + 3 + look.note, look.note, { colour: this.theme.faint });
    });
    return this.pixels();
  }
}

// For a slide: a row per panel, a column per moment.
export class StripSheet extends Sheet {
  constructor(shot, frames) {
    const { panels } = shot.film;
    const quiet = { ...shot.moment, followed: null, on: { ...shot.moment.on, trails: false, anatomy: false } };
    const { look } = shot.film;
    super({ ...shot, moment: quiet }, panels, look.side);
    const width = COLUMN + frames.length * (look.side + look.gap) - look.gap + look.edge;
    const bottom = ABOVE + panels.length * (look.side + look.gap) - look.gap;
    this.open(width, bottom + look.edge + this.tall([this.film.stamp], width - 2 * look.edge, SIGNED));
    const stamp = this.wrapped(this.film.stamp, width - 2 * look.edge, SIGNED);
    this.write(stamp, look.edge, bottom + 8 + SIGNED, SIGNED, { colour: this.theme.faint });
    const top = (row) => ABOVE + row * (look.side + look.gap);
    panels.forEach(({ title, formula }, row) => {
      const lines = this.wrapped(title, COLUMN - 2 * look.edge, LARGE, { most: 4, weight: 700 });
      this.write(lines, look.edge, top(row) + 8 + LARGE, LARGE, { weight: 700 });
      const below = top(row) + 12 + look.leading * LARGE * lines.length + SMALLER;
      const more = this.wrapped(formula, COLUMN - 2 * look.edge, SMALLER, { most: 5 });
      this.write(more, look.edge, below, SMALLER, { colour: this.theme.faint });
    });
    frames.forEach((frame, column) => {
      const x = COLUMN + column * (look.side + look.gap);
      const clock = clockText(this.film, this.film.ticks[frame]);
      this.write([clock], x + look.side / 2, 30, 24, { weight: 700, family: this.mono, align: "center" });
      this.drawn(frame).forEach((canvas, row) => {
        this.card(x, top(row), look.side);
        this.paste(canvas, x, top(row));
      });
    });
  }
}

// The context of a new canvas of this size in pixels. It is set up to be read again and again.
function paperOf(width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  return canvas.getContext("2d", { willReadFrequently: true });
}
