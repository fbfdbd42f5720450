// Bytes from packing.py, as a film: plain arrays in data units.

// A copy, because typed arrays need a buffer that starts at a multiple of four, and Streamlit's may not.
export function readHeader(data) {
  const bytes = data.slice();
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { header, body: bytes.buffer.slice(4 + length) };
}

export function readFilm({ header, body }) {
  const frames = header.ticks.length;
  const particles = header.particles;

  function points(at, count) {
    if (at === null) return null;
    const whole = new Int16Array(body, at, 2 * count);
    const out = new Float32Array(whole.length);
    for (let i = 0; i < whole.length; i++) out[i] = whole[i] * header.unit;
    return out;
  }

  // A panel's x, x0 and mean, `size` numbers at each frame: places of particles, or brightness of pixels.
  function paths({ x, x0, mean, shape, still }) {
    const size = shape ? shape.reduce((a, b) => a * b) : 2 * particles;
    const bytes = (at) => (at === null ? null : new Uint8Array(body, at, (still ? 1 : frames) * size));
    const read = shape ? bytes : (at) => points(at, frames * particles);
    return { size, x: read(x), x0: read(x0), mean: read(mean) };
  }

  // Arrow i at frame k: arrows[2 * (k * count + i)]. Every frame has a unit of its own.
  function arrows({ at, unit }) {
    const size = 2 * header.field.count;
    const units = new Float32Array(body, unit, frames);
    const whole = new Int16Array(body, at, frames * size);
    return Float32Array.from(whole, (value, i) => value * units[Math.floor(i / size)]);
  }

  // If Python names no kinds, there is one, which takes the arrows as they are.
  function kinds(given) {
    if (!given.length) return [{ x: new Float32Array(frames), value: new Float32Array(frames).fill(1) }];
    const numbers = (at) => new Float32Array(body, at, frames);
    return given.map(({ name, x, value }) => ({ name, x: numbers(x), value: numbers(value) }));
  }

  return {
    ...header,
    frames,
    last: Math.max(0, frames - 1),
    // Particle i at frame k: x[2 * (k * particles + i)], and y right behind it. An image takes H * W * C bytes.
    panels: header.panels.map((panel) => ({
      ...panel,
      ...paths(panel),
      arrows: panel.arrows && arrows(panel.arrows),
      vectors: panel.arrows && new Float32Array(2 * header.field.count), // the arrows that are shown now
      heat: panel.heat && { ...panel.heat, values: new Uint8Array(body, panel.heat.at, frames * panel.heat.m ** 2) },
    })),
    field: header.field && {
      ...header.field,
      places: points(header.field.at, header.field.count),
      kinds: kinds(header.field.kinds),
    },
    density: header.density && { ...header.density, values: new Uint8Array(body, header.density.at) },
    ghost: points(header.ghost.at, header.ghost.count),
    framed: header.panels.some(({ shape }) => !shape), // images have the colours of the particles beside them
    hue: new Uint8Array(body, header.hue, particles),
    // Canvas is fast when it changes colour rarely: everything is drawn hue by hue.
    byHue: group(new Uint8Array(body, header.hue, particles)),
  };
}

function group(hue) {
  const groups = [];
  hue.forEach((h, i) => (groups[h] ??= []).push(i));
  return groups; // with holes for unused hues: forEach skips them
}

// Writes into `out` the places of a panel's particles, or the pixels of its images, at a position between frames.
// In two phases (step anatomy) they first take the model's step, to the mean, and then the noise kick.
export function place(panel, position, twoPhase, guess, out) {
  const { size, still } = panel;
  const x = (guess && panel.shape && panel.x0) || panel.x; // particles have lines to their guesses instead
  const k = still ? 0 : Math.ceil(position);
  const from = x.subarray(size * Math.max(0, k - 1));
  const to = x.subarray(size * k);
  const part = 1 - (k - position);
  if (twoPhase && panel.mean && k > 0 && x === panel.x) {
    const mean = panel.mean.subarray(size * k);
    const [start, end] = part < 0.5 ? [from, mean] : [mean, to];
    blend(start, end, ease(part < 0.5 ? 2 * part : 2 * part - 1), out);
  } else blend(from, to, part, out);
}

export function blend(from, to, part, out) {
  for (let i = 0; i < out.length; i++) out[i] = from[i] + part * (to[i] - from[i]);
}

export function ease(part) {
  return part * part * (3 - 2 * part);
}
