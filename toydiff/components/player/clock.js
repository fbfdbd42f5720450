// Where the film is. Position is a frame number and runs between frames while something moves; at rest it is whole.

const WHOLE_FILM = 6000; // ms at speed 1, however many frames
const HOLD = 1200; // ms on the last frame before the film starts again
const SLOW_STEP = 1100; // ms for one step when its two parts are shown one after the other

export class Clock {
  position = 0;
  target = 0; // the frame to come to rest on, while not playing
  last = 0;
  playing = false;
  loop = true;
  speed = 1;
  slow = false;
  held = 0;

  // The frame on show: while playing, the last one reached; otherwise the target.
  get frame() {
    return this.playing ? Math.floor(this.position + 1e-6) : this.target;
  }

  get moving() {
    return this.playing || this.position !== this.target;
  }

  get msPerFrame() {
    const pace = Math.min(400, Math.max(8, WHOLE_FILM / Math.max(1, this.last)));
    return (this.slow ? Math.max(SLOW_STEP, pace) : pace) / this.speed;
  }

  seek(frame) {
    this.position = this.target = Math.min(this.last, Math.max(0, Math.round(frame)));
    this.held = 0;
  }

  play() {
    if (this.target === this.last && this.position === this.last) this.seek(0);
    this.playing = this.last > 0;
  }

  // A step that has begun is finished first.
  pause() {
    this.playing = false;
    this.target = Math.ceil(this.position);
  }

  // One frame forward is shown as a movement, every other skip as a jump. A second press during it jumps to its end.
  skip(frames) {
    const goal = Math.min(this.last, Math.max(0, (this.playing ? Math.round(this.position) : this.target) + frames));
    this.playing = false;
    this.seek(goal);
    if (frames === 1 && goal > 0) this.position = goal - 1;
  }

  advance(ms) {
    const end = this.playing ? this.last : this.target;
    if (this.position < end) {
      const pace = this.playing || this.slow ? this.msPerFrame : Math.min(120, this.msPerFrame);
      this.position = Math.min(end, this.position + ms / pace);
      this.held = 0;
    } else if (this.playing) {
      this.held += ms;
      if (!this.loop) this.pause();
      else if (this.held > HOLD) this.seek(0);
    }
  }
}
