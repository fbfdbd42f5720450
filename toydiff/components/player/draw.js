// One panel on its canvas. `view` is what the panels share (size, scale, theme, background), `moment` is what is
// shown now: { position, on: {trails, guess, ...}, followed, fresh, reach, inspected, picked }. Lengths are CSS pixels.

import { drawAnatomy } from "./anatomy.js";
import { drawImages } from "./images.js";
import { drawLayers, drawOverlay, drawScale } from "./layers.js";

export const TURN = 2 * Math.PI;

// From the data, where y points up, to the screen, where y points down.
export const sx = (view, x) => view.size / 2 + x * view.scale;
export const sy = (view, y) => view.size / 2 - y * view.scale;

// Grid and data never move: drawn once, copied under every frame. Layers lie over them, particles over the layers.
export function background(view, film) {
  const { size, theme, ratio } = view;
  const layer = document.createElement("canvas");
  layer.width = layer.height = Math.round(size * ratio);
  const ctx = layer.getContext("2d");
  ctx.scale(ratio, ratio);
  ctx.fillStyle = theme.paper;
  ctx.fillRect(0, 0, size, size);

  for (let unit = -Math.floor(film.halfWidth); unit <= film.halfWidth; unit++) {
    ctx.fillStyle = unit === 0 ? theme.axis : theme.grid;
    ctx.fillRect(Math.round(sx(view, unit)), 0, 1, size);
    ctx.fillRect(0, Math.round(sy(view, unit)), size, 1);
  }

  ctx.fillStyle = theme.ghost;
  ctx.beginPath();
  for (let i = 0; i < film.ghost.length; i += 2) disc(ctx, view, film.ghost[i], film.ghost[i + 1], view.radius * film.look.ghost);
  ctx.fill();
  return layer;
}

export function drawPanel(ctx, view, film, panel, now, moment, cache) {
  if (panel.shape) return drawImages(ctx, view, film, panel, now, moment, cache);
  ctx.setTransform(view.ratio, 0, 0, view.ratio, 0, 0);
  ctx.drawImage(view.layer, 0, 0, view.size, view.size);
  drawLayers(ctx, view, film, panel, moment, cache);
  if (moment.on.particles) drawParticles(ctx, view, film, panel, now, moment, cache);
  drawOverlay(ctx, view, film, panel, moment);
  if (panel.heat) drawScale(ctx, view, film);
}

function drawParticles(ctx, view, film, panel, now, moment, cache) {
  const { on, followed } = moment;
  const hero = followed ?? (on.anatomy && panel.mean && film.particles ? film.protagonist : null);
  const dimmed = hero !== null || (on.guess && panel.x0);
  const trails = on.trails && !(on.anatomy && panel.mean);
  if (trails) drawTrails(ctx, view, film, panel, now, moment, dimmed ? 0.5 : 1, cache);
  drawPoints(ctx, view, film, now, hero !== null ? 0.4 : dimmed ? 0.65 : 1);
  if (on.guess && panel.x0) drawGuesses(ctx, view, film, panel, now, moment, hero);
  if (hero === null) return;
  if (on.anatomy && panel.mean) drawAnatomy(ctx, view, film, panel, now, moment, hero);
  else drawPath(ctx, view, film, panel, now, moment, hero);
  drawHero(ctx, view, film, now, hero);
}

export function disc(ctx, view, x, y, radius) {
  const px = sx(view, x);
  const py = sy(view, y);
  ctx.moveTo(px + radius, py);
  ctx.arc(px, py, radius, 0, TURN);
}

function drawPoints(ctx, view, film, now, alpha) {
  ctx.globalAlpha = alpha;
  ctx.strokeStyle = view.theme.paper;
  ctx.lineWidth = 1.5;
  film.byHue.forEach((group, hue) => {
    ctx.fillStyle = view.theme.hues[hue];
    ctx.beginPath();
    for (const i of group) disc(ctx, view, now[2 * i], now[2 * i + 1], view.radius);
    if (film.particles <= film.look.crowd) ctx.stroke(); // a rim of paper: points stay apart, and stand out from the trails
    ctx.fill();
  });
  ctx.globalAlpha = 1;
}

// The last frames of each particle, up to frame k. Long random hops would hide the points: the more line, the fainter.
// The newest segment, from frame k - 1 to where particles are now, changes at every drawing; all the others only when
// k does: they are drawn once per frame, onto a layer of their own. Trails are nearly all of the work.
function drawTrails(ctx, view, film, panel, now, moment, strength, cache) {
  const k = Math.ceil(moment.position);
  const alpha = moment.fresh * strength * inkStrength(view, film, panel.x, k);
  const key = `${k} ${alpha}`;
  if (cache.view !== view || cache.panel !== panel || cache.key !== key) {
    Object.assign(cache, { view, panel, key });
    drawOldTrails(trailLayer(cache, view), view, film, panel.x, k, alpha);
  }
  ctx.drawImage(cache.layer, 0, 0, view.size, view.size);
  if (k > 0) strokeTrails(ctx, view, film, panel.x, k - 1, k, now, alpha);
}

function trailLayer(cache, view) {
  cache.layer ??= document.createElement("canvas");
  cache.layer.width = cache.layer.height = Math.round(view.size * view.ratio);
  const ctx = cache.layer.getContext("2d");
  ctx.scale(view.ratio, view.ratio);
  return ctx;
}

const trailLength = (film, k) => Math.min(k, film.trail);

function drawOldTrails(ctx, view, film, x, k, alpha) {
  const length = trailLength(film, k);
  const { fades, fading } = film.look; // one stroke for each step of fading and hue, not for each line
  for (let fade = fades - 1; fade >= 0; fade--) {
    const newest = Math.min(k - 1, k - Math.floor((fade * length) / fades));
    const oldest = k - Math.floor(((fade + 1) * length) / fades);
    if (oldest < newest) strokeTrails(ctx, view, film, x, oldest, newest, null, alpha * (1 - fade / fades) ** fading);
  }
}

// All particles' lines from one frame to another, hue by hue; with `now`, the lines end there.
function strokeTrails(ctx, view, film, x, oldest, newest, now, alpha) {
  const B = film.particles;
  const thin = Math.ceil(B / film.look.trails);
  ctx.globalAlpha = Math.min(0.9, alpha * view.ratio);
  ctx.lineWidth = 1 / view.ratio; // one pixel of the screen: many times faster to draw than anything wider
  film.byHue.forEach((group, hue) => {
    ctx.strokeStyle = view.theme.hues[hue];
    ctx.beginPath();
    for (let g = 0; g < group.length; g += thin) {
      const i = group[g];
      ctx.moveTo(sx(view, x[2 * (oldest * B + i)]), sy(view, x[2 * (oldest * B + i) + 1]));
      for (let a = oldest + 1; a < newest + (now ? 0 : 1); a++) {
        const at = 2 * (a * B + i);
        ctx.lineTo(sx(view, x[at]), sy(view, x[at + 1]));
      }
      if (now) ctx.lineTo(sx(view, now[2 * i]), sy(view, now[2 * i + 1]));
    }
    ctx.stroke();
  });
  ctx.globalAlpha = 1;
}

// The opacity at which trails stay within the share that they may cover, from how far all particles moved in the step to frame k.
function inkStrength(view, film, x, k) {
  const B = film.particles;
  let hops = 0;
  for (let at = 2 * k * B; k > 0 && at < 2 * (k + 1) * B; at += 2)
    hops += Math.hypot(x[at] - x[at - 2 * B], x[at + 1] - x[at + 1 - 2 * B]);
  const pixels = (hops * view.scale * trailLength(film, k)) / Math.ceil(B / film.look.trails);
  return Math.min(0.6, Math.max(0.1, (film.look.ink * view.size ** 2) / (pixels || 1)));
}

// The whole path of one particle so far: older parts are fainter.
function drawPath(ctx, view, film, panel, now, moment, i) {
  const { x } = panel;
  const B = film.particles;
  const k = Math.ceil(moment.position);
  const pieces = Math.min(k, 12);
  ctx.lineJoin = ctx.lineCap = "round";
  for (let piece = 0; piece < pieces; piece++) {
    const start = Math.floor((piece * k) / pieces);
    const end = Math.floor(((piece + 1) * k) / pieces);
    ctx.beginPath();
    for (let a = start; a <= end; a++) {
      const [from, at] = a === k ? [now, 2 * i] : [x, 2 * (a * B + i)];
      ctx.lineTo(sx(view, from[at]), sy(view, from[at + 1]));
    }
    ctx.globalAlpha = moment.fresh * (0.25 + (0.75 * (piece + 1)) / pieces);
    ctx.strokeStyle = view.theme.paper;
    ctx.lineWidth = 4;
    ctx.stroke();
    ctx.strokeStyle = view.theme.hues[film.hue[i]];
    ctx.lineWidth = 1.7;
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

// The particle that is followed: larger, with a ring.
function drawHero(ctx, view, film, now, i) {
  const { theme, radius } = view;
  const [x, y] = [now[2 * i], now[2 * i + 1]];
  const ring = (r, width, colour) => {
    ctx.beginPath();
    disc(ctx, view, x, y, r);
    ctx.lineWidth = width;
    ctx.strokeStyle = colour;
    ctx.stroke();
  };
  ring(radius + 5, 5, theme.paper);
  ring(radius + 5, 2, theme.ink);
  ctx.fillStyle = theme.hues[film.hue[i]];
  ctx.beginPath();
  disc(ctx, view, x, y, radius + 1.5);
  ctx.fill();
}

const MOST_GUESSES = 40;

// Lines from x to the guess at x0, for about MOST_GUESSES particles: more lines would hide each other.
function drawGuesses(ctx, view, film, panel, now, moment, hero) {
  const { particles: B } = film;
  const k = Math.ceil(moment.position);
  const part = 1 - (k - moment.position);
  const [from, to] = [2 * Math.max(0, k - 1) * B, 2 * k * B];
  const guess = (at) => panel.x0[from + at] + part * (panel.x0[to + at] - panel.x0[from + at]);
  const thin = Math.ceil(B / MOST_GUESSES);

  function one(i, strong) {
    const [x, y] = [sx(view, guess(2 * i)), sy(view, guess(2 * i + 1))];
    const [px, py] = [sx(view, now[2 * i]), sy(view, now[2 * i + 1])];
    const r = view.radius * (strong ? 1.6 : 1.05);
    ctx.strokeStyle = view.theme.hues[film.hue[i]];
    ctx.fillStyle = view.theme.paper;
    ctx.globalAlpha = strong ? 1 : hero === null ? 0.55 : 0.25;
    ctx.lineWidth = strong ? 2.2 : 1.1;
    ctx.beginPath();
    ctx.moveTo(px, py);
    ctx.lineTo(x, y);
    ctx.stroke();
    ctx.globalAlpha = strong || hero === null ? 1 : 0.5;
    ctx.lineWidth = strong ? 2.4 : 1.6;
    ctx.beginPath();
    ctx.arc(x, y, r, 0, TURN);
    ctx.fill();
    ctx.stroke();
  }

  for (let i = 0; i < B; i += thin) if (i !== hero) one(i, false);
  if (hero !== null) one(hero, true);
  ctx.globalAlpha = 1;
}
