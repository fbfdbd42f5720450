// The film as files to take home. The browser makes them with the code that draws the film: they show exactly what is
// on the screen, and a whole class can make them at the same time without work for the server.

import { Gif, Palette } from "./gif.js";
import { filled } from "./inspector.js";
import { figure } from "./layers.js";
import { FilmSheet, StripSheet } from "./sheet.js";

const MOMENTS = 6; // moments in a strip
const SAMPLES = 8; // pictures that the colours of a GIF are chosen from

// At most `most` of the frames 0 ... count - 1, evenly spaced, the first and the last among them.
function spaced(count, most) {
  const shown = Math.min(count, most);
  return [...Array(shown).keys()].map((i) => (shown > 1 ? Math.round((i * (count - 1)) / (shown - 1)) : 0));
}

// The film as a GIF that loops for ever and rests on its last picture. tell: is called with the share that is done.
async function gifOf(shot, tell) {
  const sheet = new FilmSheet(shot);
  const { look } = shot.film;
  const frames = spaced(shot.film.frames, look.frames);
  const palette = new Palette(shot.theme, spaced(frames.length, SAMPLES).map((n) => sheet.picture(frames[n])));
  const { width, height } = sheet.ctx.canvas;
  const gif = new Gif(width, height, palette.colours, shot.film.stamp);
  const pace = Math.min(40, Math.max(2, Math.round((100 * look.seconds) / frames.length))); // browsers do not go faster than 2
  for (const [n, frame] of frames.entries()) {
    gif.add(palette.indices(sheet.picture(frame)), pace + (n === frames.length - 1 ? 100 * look.hold : 0));
    tell((n + 1) / frames.length);
    await breath();
  }
  return gif.file();
}

// Six moments of the film in one picture, a PNG.
async function stripOf(shot) {
  const { canvas } = new StripSheet(shot, spaced(shot.film.frames, MOMENTS)).ctx;
  const file = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!file) throw new Error("the browser has no room for this picture");
  return described(new Uint8Array(await file.arrayBuffer()), shot.film.stamp);
}

const MAKERS = { gif: gifOf, strip: stripOf };
const SUFFIX = { gif: "gif", strip: "png" };

// The buttons: each makes its file and hands it to the browser. `shoot` returns what is shown.
export class Exports {
  constructor(root, shoot) {
    Object.assign(this, { shoot, said: root.querySelector(".said"), making: new Set() });
    this.buttons = [...root.querySelectorAll("[data-export]")];
    // a double click makes one file, even if that is finished before the second click
    for (const button of this.buttons) button.onclick = ({ detail }) => detail > 1 || this.make(button);
  }

  fill(film) {
    const { labels } = film;
    for (const button of this.buttons) button.title = labels[`${button.dataset.export}_help`];
  }

  async make(button) {
    const kind = button.dataset.export;
    if (this.making.has(kind)) return; // it is being made
    this.making.add(kind);
    button.setAttribute("aria-busy", true);
    this.say("");
    await breath(); // the button shows that it was pressed
    const shot = await this.shoot();
    const { labels, options } = shot.film;
    try {
      const file = await MAKERS[kind](shot, (share) => button.style.setProperty("--share", share));
      const name = `${options.file}.${SUFFIX[kind]}`;
      save(file, name);
      this.say(filled(labels.saved, { file: name, size: figure(file.size / 1e6) }));
    } catch (error) {
      console.warn(error);
      this.say(labels.unsaved);
    } finally {
      this.making.delete(kind);
      button.removeAttribute("aria-busy");
      button.style.removeProperty("--share");
    }
  }

  say(text) {
    this.said.textContent = text;
  }
}

// Hands a file to the browser, which puts it where its user wants downloads.
function save(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // a slow telephone may still be reading it
}

// Lets the waiting events of this tab run. A message does it in a hidden tab too, where timers sleep.
function breath() {
  return new Promise((done) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => (port1.close(), done());
    port2.postMessage(null);
  });
}

// A PNG with a text inside, in a chunk right behind its first one (the PNG specification, 11.3.3.4).
const HEADED = 33; // bytes of the signature and the first chunk

function described(png, text) {
  const data = new TextEncoder().encode(`iTXtDescription\0\0\0\0\0${text}`);
  const chunk = new Uint8Array(data.length + 8);
  const numbers = new DataView(chunk.buffer);
  numbers.setUint32(0, data.length - 4);
  chunk.set(data, 4);
  numbers.setUint32(data.length + 4, crc(data));
  return new Blob([png.subarray(0, HEADED), chunk, png.subarray(HEADED)], { type: "image/png" });
}

// The checksum of PNG (CRC-32), bit by bit.
function crc(data) {
  let sum = -1;
  for (const byte of data) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
