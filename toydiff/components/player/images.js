// A panel of images on its canvas: a grid, the same in all panels with as many images of that shape. Lengths are pixels
// of the screen, so that pixels of an image are sharp.

const [CLOSE, FRAMED, WIDE] = [0.01, 0.025, 0.035]; // gap, as a share of the canvas: least, least with frames, most
const LOST = 0.75; // image pixels get a whole size, unless images would shrink below this share of the possible size

// The grid, with the number of columns that makes images largest: for squares, the root of their number.
function gridOf(view, film, { shape: [count, H, W] }) {
  const side = Math.round(view.size * view.ratio);
  const closest = Math.max(2, Math.round((film.framed ? FRAMED : CLOSE) * side));
  const columns = Math.max(1, Math.ceil(Math.sqrt((count * H) / W)));
  const rows = Math.max(1, Math.ceil(count / columns));
  const room = (n) => side - closest * (n + 1);
  let scale = Math.min(room(columns) / (columns * W), room(rows) / (rows * H));
  if (Math.floor(scale) >= LOST * scale) scale = Math.floor(scale);
  const [width, height] = [W, H].map((length) => Math.max(1, Math.floor(scale * length)));
  const left = Math.min((side - columns * width) / (columns + 1), (side - rows * height) / (rows + 1));
  const gap = Math.floor(Math.min(left, WIDE * side));
  const start = (n, length) => Math.floor((side - n * (length + gap) + gap) / 2);
  const x = (i) => start(columns, width) + (i % columns) * (width + gap);
  const y = (i) => start(rows, height) + Math.floor(i / columns) * (height + gap);
  return { side, gap, scale, width, height, x, y };
}

export function drawImages(ctx, view, film, panel, now, moment, cache) {
  const { theme } = view;
  const [count, H, W] = panel.shape;
  const { side, gap, scale, width, height, x, y } = gridOf(view, film, panel);
  const ours = ofAll(film, panel);
  const hero = ours ? (moment.followed ?? (moment.on.anatomy ? film.protagonist : null)) : null;
  const framed = film.framed && ours;
  const frame = framed ? Math.max(1, Math.floor(Math.min(gap / 3, side / 140))) : 1;

  const around = (i, by, colour) => {
    ctx.fillStyle = colour;
    ctx.fillRect(x(i) - by, y(i) - by, width + 2 * by, height + 2 * by);
  };
  const one = (i) => {
    around(i, frame, framed ? theme.hues[film.hue[i]] : theme.axis);
    ctx.drawImage(sheet, 0, i * H, W, H, x(i), y(i), width, height);
  };

  ctx.setTransform(1, 0, 0, 1, 0, 0);
  ctx.imageSmoothingEnabled = scale < 1;
  ctx.fillStyle = theme.paper;
  ctx.fillRect(0, 0, side, side);
  if (count === 0) return;
  const sheet = onSheet(cache, panel.shape, now);
  for (let i = 0; i < count; i++) one(i);
  if (hero === null) return;
  around(hero, frame + Math.max(2, Math.round(side / 75)), theme.ink);
  around(hero, frame + 1, theme.paper);
  one(hero);
}

// The images in their own size, one below the other, on a separate canvas. A gray value serves all three colours.
function onSheet(cache, [count, H, W, C], values) {
  if (cache.sheet?.width !== W || cache.sheet.height !== count * H) {
    cache.sheet = document.createElement("canvas");
    [cache.sheet.width, cache.sheet.height] = [W, count * H];
    cache.pixels = new ImageData(W, count * H);
  }
  const { data } = cache.pixels;
  const [green, blue] = C === 3 ? [1, 2] : [0, 0];
  for (let at = 0, from = 0; at < data.length; at += 4, from += C) {
    data[at] = values[from];
    data[at + 1] = values[from + green];
    data[at + 2] = values[from + blue];
    data[at + 3] = 255;
  }
  cache.sheet.getContext("2d").putImageData(cache.pixels, 0, 0);
  return cache.sheet;
}

// Whether image i is particle i: a still panel may show other images.
const ofAll = (film, panel) => panel.shape[0] === film.particles;

// The image at a place on the canvas (CSS pixels), or null.
export function imageAt(view, film, panel, px, py) {
  if (!ofAll(film, panel)) return null;
  const { gap, width, height, x, y } = gridOf(view, film, panel);
  const [at, down] = [px * view.ratio, py * view.ratio];
  const within = (start, length, place) => start - gap / 2 <= place && place < start + length + gap / 2;
  const found = (i) => within(x(i), width, at) && within(y(i), height, down);
  const hit = [...Array(film.particles).keys()].findIndex(found);
  return hit < 0 ? null : hit;
}
