// Bytes from packing.py, as a film: plain arrays in data units.

// A copy, because typed arrays need a buffer that starts at a multiple of four, and Streamlit's may not.
function readHeader(data) {
  const bytes = data.slice();
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { header, body: bytes.buffer.slice(4 + length) };
}

function readFilm({ header, body }) {
  const frames = header.ticks.length;
  const particles = header.particles;

  function points(at, count) {
    if (at === null) return null;
    const whole = new Int16Array(body, at, 2 * count);
    const out = new Float32Array(whole.length);
    for (let i = 0; i < whole.length; i++) out[i] = whole[i] * header.unit;
    return out;
  }

  return {
    ...header,
    frames,
    last: Math.max(0, frames - 1),
    // Particle i at frame k: x[2 * (k * particles + i)], and y right behind it.
    panels: header.panels.map((panel) => ({
      ...panel,
      x: points(panel.x, frames * particles),
      x0: points(panel.x0, frames * particles),
      mean: points(panel.mean, frames * particles),
    })),
    ghost: points(header.ghost.at, header.ghost.count),
    hue: new Uint8Array(body, header.hue, particles),
    // Canvas is fast when it changes colour rarely: everything is drawn hue by hue.
    byHue: group(new Uint8Array(body, header.hue, particles)),
  };
}

function group(hue) {
  const groups = [];
  hue.forEach((h, i) => (groups[h] ??= []).push(i));
  return groups; // with holes for hues nobody has: forEach skips them
}

// Where the particles of a panel are at a position between frames, written into `out`.
// In two phases (step anatomy) they first take the model's step, to the mean, and then the noise kick.
function place(film, panel, position, twoPhase, out) {
  const { particles } = film;
  const k = Math.ceil(position);
  const from = panel.x.subarray(2 * Math.max(0, k - 1) * particles);
  const to = panel.x.subarray(2 * k * particles);
  const part = 1 - (k - position);
  if (twoPhase && panel.mean && k > 0) {
    const mean = panel.mean.subarray(2 * k * particles);
    const [start, end] = part < 0.5 ? [from, mean] : [mean, to];
    blend(start, end, ease(part < 0.5 ? 2 * part : 2 * part - 1), out);
  } else blend(from, to, part, out);
}

function blend(from, to, part, out) {
  for (let i = 0; i < out.length; i++) out[i] = from[i] + part * (to[i] - from[i]);
}

function ease(part) {
  return part * part * (3 - 2 * part);
}
