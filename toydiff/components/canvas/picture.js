// The picture: paper, grid and points on a layer that only grows during a stroke, and above it the tool's ring.

const CELLS = 8; // cells of the grid, across
const CHUNK = 500; // points in one path: long paths are slow

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d");
    this.layer = document.createElement("canvas");
    this.pen = this.layer.getContext("2d");
    this.size = 0; // CSS pixels; 0: to be measured again
  }

  // From a place on the page, where y points down, to the drawing, where y points up.
  place({ clientX, clientY }) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return { x: (2 * (clientX - left)) / width - 1, y: 1 - (2 * (clientY - top)) / height };
  }

  draw(cloud, theme, ring) {
    if (!this.size && !this.measure()) return;
    const { ctx, ratio, size } = this;
    if (this.revision !== cloud.revision) this.background(theme);
    this.revision = cloud.revision;
    this.addPoints(cloud, theme);
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.drawImage(this.layer, 0, 0, size, size);
    if (ring) this.ring(ring, theme);
  }

  measure() {
    this.size = this.canvas.clientWidth;
    this.ratio = Math.min(3, window.devicePixelRatio || 1);
    for (const it of [this.canvas, this.layer]) it.width = it.height = Math.round(this.size * this.ratio);
    this.revision = null;
    return this.size > 0;
  }

  background(theme) {
    const { pen, size, ratio } = this;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = theme.paper;
    pen.fillRect(0, 0, size, size);
    for (let i = 1; i < CELLS; i++) {
      const at = Math.round((i * size) / CELLS);
      pen.fillStyle = 2 * i === CELLS ? theme.axis : theme.grid;
      pen.fillRect(at, 0, 1, size);
      pen.fillRect(0, at, size, 1);
    }
    this.drawn = 0;
  }

  // Draws the points that are not on the layer yet.
  addPoints({ xy, unit, count }, theme) {
    const { pen, size } = this;
    const radius = Math.max(1.5, size / 190);
    const scale = size / (2 * unit);
    pen.fillStyle = theme.model;
    while (this.drawn < count) {
      const end = Math.min(count, this.drawn + CHUNK);
      pen.beginPath();
      for (; this.drawn < end; this.drawn++) {
        const px = size / 2 + xy[2 * this.drawn] * scale;
        const py = size / 2 - xy[2 * this.drawn + 1] * scale;
        pen.moveTo(px + radius, py);
        pen.arc(px, py, radius, 0, 2 * Math.PI);
      }
      pen.fill();
    }
  }

  ring({ at, radius }, theme) {
    const { ctx, size } = this;
    ctx.beginPath();
    ctx.arc(((1 + at.x) * size) / 2, ((1 - at.y) * size) / 2, Math.max(3, (radius * size) / 2), 0, 2 * Math.PI);
    ctx.strokeStyle = theme.faint;
    ctx.lineWidth = 1.5;
    ctx.stroke();
  }
}
