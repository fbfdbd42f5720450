// The points of a drawing, and those of the drawings before it, for undo.

const KEPT = 100; // steps that can be undone

export class Cloud {
  constructor(most, unit) {
    this.unit = unit; // integers to one: Python gets exactly the points that are drawn here
    this.xy = new Int16Array(2 * most); // x of point i at 2 * i, and y right behind it
    this.count = 0;
    this.revision = 0; // changes when points are removed: until then the drawn ones can stay on the picture
    this.past = [];
    this.future = [];
  }

  get full() {
    return 2 * this.count === this.xy.length;
  }

  get points() {
    return this.xy.slice(0, 2 * this.count);
  }

  // Leaves out points off the picture, and all points beyond the limit.
  add(x, y) {
    if (this.full || Math.abs(x) > 1 || Math.abs(y) > 1) return;
    this.xy[2 * this.count] = Math.round(x * this.unit);
    this.xy[2 * this.count + 1] = Math.round(y * this.unit);
    this.count++;
  }

  // Removes every point nearer than `radius` to the line from a to b.
  erase(a, b, radius) {
    const { xy, unit } = this;
    const [dx, dy] = [b.x - a.x, b.y - a.y];
    const length = dx * dx + dy * dy || 1; // squared; a click is a line without length
    let left = 0;
    for (let i = 0; i < 2 * this.count; i += 2) {
      const [x, y] = [xy[i] / unit - a.x, xy[i + 1] / unit - a.y];
      const along = Math.min(1, Math.max(0, (x * dx + y * dy) / length));
      if ((x - along * dx) ** 2 + (y - along * dy) ** 2 < radius * radius) continue;
      xy[left] = xy[i];
      xy[left + 1] = xy[i + 1];
      left += 2;
    }
    if (left < 2 * this.count) this.revision++;
    this.count = left / 2;
  }

  put(points) {
    this.xy.set(points);
    this.count = points.length / 2;
    this.revision++;
  }

  get touched() {
    return this.past.length + this.future.length > 0;
  }

  // All changes from begin() to end() are undone as one step.
  begin() {
    this.before = { points: this.points, revision: this.revision };
  }

  end() {
    const { points, revision } = this.before;
    if (revision === this.revision && points.length === 2 * this.count) return; // nothing happened
    this.past = [...this.past, points].slice(-KEPT);
    this.future = [];
  }

  clear() {
    this.begin();
    if (this.count) this.put([]);
    this.end();
  }

  undo() {
    this.swap(this.past, this.future);
  }

  redo() {
    this.swap(this.future, this.past);
  }

  swap(from, to) {
    if (!from.length) return;
    to.push(this.points);
    this.put(from.pop());
  }
}

// The format in which Python reads and writes drawings: base64 of int16 pairs.
export function encoded(points) {
  return btoa(Array.from(new Uint8Array(points.buffer), (byte) => String.fromCharCode(byte)).join(""));
}

export function decoded(text) {
  return new Int16Array(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer);
}
