// A GIF while it grows (the GIF89a specification): each picture keeps only the pixels that change, and all share one
// palette. Pictures are ImageData, all of one size.

const COLOURS = 255; // of 256: the last index marks pixels that do not change
const UNCHANGED = COLOURS;

// The colours of a theme as they are, and those that are most like the pixels of some pictures.
export class Palette {
  constructor(theme, pictures) {
    const exact = [...theme.hues, ...Object.values(theme).filter((value) => typeof value === "string")].map(channels);
    this.colours = [...exact, ...chosen(pictures, COLOURS - exact.length)];
    this.known = new Int16Array(1 << 18).fill(-1); // index of each cell of colours; -1: not met yet
    exact.forEach((colour, i) => (this.known[cellOf(colour, 0)] = i)); // the theme's colours win their cells
  }

  // The nearest colour of each pixel, as bytes.
  indices({ data }) {
    const out = new Uint8Array(data.length / 4);
    for (let i = 0, at = 0; i < out.length; i++, at += 4) {
      const cell = cellOf(data, at);
      if (this.known[cell] < 0) this.known[cell] = this.nearest(data[at], data[at + 1], data[at + 2]);
      out[i] = this.known[cell];
    }
    return out;
  }

  nearest(r, g, b) {
    let best = 0;
    let least = Infinity;
    this.colours.forEach((colour, i) => {
      const away = (colour[0] - r) ** 2 + (colour[1] - g) ** 2 + (colour[2] - b) ** 2;
      if (away < least) [best, least] = [i, away];
    });
    return best;
  }
}

const channels = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const cellOf = (data, at) => ((data[at] >> 2) << 12) | ((data[at + 1] >> 2) << 6) | (data[at + 2] >> 2);

// Median cut (Heckbert 1982): the box of colours with the largest width² · weight is cut in two until there are enough.
// A colour weighs the root of how often it occurs, so that thin lines count beside large areas.
function chosen(pictures, most) {
  const counts = new Uint32Array(1 << 18);
  for (const { data } of pictures) for (let at = 0; at < data.length; at += 4) counts[cellOf(data, at)]++;
  const all = [];
  counts.forEach((count, cell) => {
    const colour = [cell >> 12, (cell >> 6) & 63, cell & 63].map((six) => (six << 2) | (six >> 4));
    if (count) all.push({ colour, weight: Math.sqrt(count) });
  });
  const boxes = all.length ? [boxOf(all)] : [];
  while (boxes.length < most) {
    const widest = boxes.reduce((best, box) => (box.worth > best.worth ? box : best), { worth: 0 });
    if (!widest.worth) break; // each box has one colour only
    boxes.splice(boxes.indexOf(widest), 1, ...halves(widest));
  }
  return boxes.map(({ cells, weight }) =>
    [0, 1, 2].map((axis) => Math.round(cells.reduce((sum, cell) => sum + cell.weight * cell.colour[axis], 0) / weight)),
  );
}

function boxOf(cells) {
  const spans = [0, 1, 2].map((axis) => {
    const values = cells.map(({ colour }) => colour[axis]);
    return values.reduce((a, b) => Math.max(a, b)) - values.reduce((a, b) => Math.min(a, b));
  });
  const span = Math.max(...spans);
  const weight = cells.reduce((sum, cell) => sum + cell.weight, 0);
  return { cells, weight, axis: spans.indexOf(span), worth: span ** 2 * weight };
}

function halves({ cells, weight, axis }) {
  cells.sort((a, b) => a.colour[axis] - b.colour[axis]);
  let [cut, before] = [1, cells[0].weight];
  while (cut < cells.length - 1 && before < weight / 2) before += cells[cut++].weight;
  return [boxOf(cells.slice(0, cut)), boxOf(cells.slice(cut))];
}

export class Gif {
  constructor(width, height, colours, comment) {
    Object.assign(this, { width, height, last: null });
    const table = new Uint8Array(3 * 256);
    colours.forEach((colour, i) => table.set(colour, 3 * i));
    const forever = [0x21, 0xff, 11, ...ascii("NETSCAPE2.0"), 3, 1, 0, 0, 0];
    const screen = [...ascii("GIF89a"), ...short(width), ...short(height), 0xf7, 0, 0];
    this.parts = [bytes(screen), table, bytes(forever), bytes([0x21, 0xfe]), blocks(new TextEncoder().encode(comment))];
  }

  // The next picture, as the indices of its colours; it is shown for `hundredths` of a second.
  add(pixels, hundredths) {
    const { left, top, width, height } = this.changed(pixels);
    const change = new Uint8Array(width * height);
    for (let row = 0, to = 0; row < height; row++) {
      for (let at = (top + row) * this.width + left, end = at + width; at < end; at++, to++)
        change[to] = this.last && this.last[at] === pixels[at] ? UNCHANGED : pixels[at];
    }
    const paint = 0x05; // over the picture before, with one colour for unchanged pixels
    const control = [0x21, 0xf9, 4, paint, ...short(hundredths), UNCHANGED, 0];
    const place = [0x2c, ...short(left), ...short(top), ...short(width), ...short(height), 0, 8];
    this.parts.push(bytes([...control, ...place]), blocks(lzw(change)));
    this.last = pixels;
  }

  // The smallest rectangle outside of which nothing changes; one pixel if nothing does at all.
  changed(pixels) {
    if (!this.last) return { left: 0, top: 0, width: this.width, height: this.height };
    let [left, right, top, bottom] = [this.width, -1, -1, 0];
    for (let row = 0, at = 0; row < this.height; row++) {
      for (let x = 0; x < this.width; x++, at++) {
        if (this.last[at] === pixels[at]) continue;
        if (x < left) left = x;
        if (x > right) right = x;
        if (top < 0) top = row;
        bottom = row;
      }
    }
    if (top < 0) return { left: 0, top: 0, width: 1, height: 1 };
    return { left, top, width: right - left + 1, height: bottom - top + 1 };
  }

  file() {
    return new Blob([...this.parts, bytes([0x3b])], { type: "image/gif" });
  }
}

const bytes = (values) => Uint8Array.from(values);
const short = (value) => [value & 255, value >> 8];
const ascii = (text) => [...text].map((letter) => letter.charCodeAt(0));

// Data in blocks of at most 255 bytes, each behind its length; an empty one at the end.
function blocks(data) {
  const out = new Uint8Array(data.length + Math.ceil(data.length / 255) + 1);
  for (let from = 0, to = 0; from < data.length; from += 255, to += 256) {
    const block = data.subarray(from, from + 255);
    out[to] = block.length;
    out.set(block, to + 1);
  }
  return out;
}

// Lempel, Ziv and Welch: a code stands for a string of pixels that has occurred; each new string is an old one and one
// pixel more. Codes have 9 to 12 bits. When all 4096 are used, the table starts anew.
const [CLEAR, END, FULL] = [256, 257, 4096];
let longer; // the code of a string with one pixel more; 0: not met yet

function lzw(pixels) {
  longer ??= new Uint16Array(FULL * 256);
  let out = new Uint8Array(1 << 12);
  let [length, held, bits, size, next] = [0, 0, 0, 9, END + 1];
  longer.fill(0);

  function write(code) {
    held |= code << bits;
    bits += size;
    for (; bits >= 8; bits -= 8, held >>>= 8) {
      if (length === out.length) out = grown(out);
      out[length++] = held & 255;
    }
  }

  write(CLEAR);
  let code = pixels[0];
  for (let i = 1; i < pixels.length; i++) {
    const at = code * 256 + pixels[i];
    if (longer[at]) {
      code = longer[at];
      continue;
    }
    write(code);
    code = pixels[i];
    if (next === FULL) {
      write(CLEAR);
      longer.fill(0);
      [size, next] = [9, END + 1];
    } else {
      if (next === 1 << size) size++;
      longer[at] = next++;
    }
  }
  write(code);
  if (next < FULL && next === 1 << size) size++; // as decoders expect
  write(END);
  if (bits > 0) {
    if (length === out.length) out = grown(out);
    out[length++] = held & 255;
  }
  return out.subarray(0, length);
}

function grown(array) {
  const larger = new Uint8Array(2 * array.length);
  larger.set(array);
  return larger;
}
