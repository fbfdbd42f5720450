// A line at the current tick on every Plotly chart of a container elsewhere on the page. It is laid over the chart:
// Plotly does not draw again, and no script runs on the server.

const LOOK_AGAIN = 500; // ms: Streamlit replaces charts now and then

export class Marks {
  lines = new Map(); // subplot of a chart -> its line
  charts = [];
  looked = -Infinity;
  timer = 0;

  // again: is called later if there are no charts yet, because a film that stands still does not look for them.
  move(name, tick, colour, again) {
    if (!name) return this.clear();
    if (performance.now() - this.looked > LOOK_AGAIN) this.look(name);
    for (const chart of this.charts) {
      const plots = chart._fullLayout?._plots ?? {};
      for (const plot of Object.values(plots)) if (plot.xaxis?._length) this.place(chart, plot, tick, colour);
    }
    clearTimeout(this.timer);
    if (!this.lines.size) this.timer = setTimeout(again, LOOK_AGAIN + 1);
  }

  look(name) {
    this.looked = performance.now();
    this.charts = [...document.querySelectorAll(`.st-key-${CSS.escape(name)} .js-plotly-plot`)];
    for (const [plot, line] of this.lines) if (!line.isConnected) this.lines.delete(plot);
  }

  place(chart, plot, tick, colour) {
    const { xaxis, yaxis } = plot;
    const x = xaxis.d2p(tick); // pixels from the left end of the axis; logarithmic axes too
    let line = this.lines.get(plot);
    if (!line?.isConnected) {
      line = document.createElement("div");
      line.className = "toydiff-mark";
      line.style.cssText = "position:absolute;left:0;width:2px;margin-left:-1px;pointer-events:none;z-index:2";
      (chart.querySelector(".svg-container") ?? chart).append(line);
      this.lines.set(plot, line);
    }
    line.style.top = `${yaxis._offset}px`;
    line.style.height = `${yaxis._length}px`;
    line.style.background = colour;
    line.style.transform = `translateX(${xaxis._offset + x}px)`;
    line.hidden = !(x >= 0 && x <= xaxis._length);
  }

  clear() {
    clearTimeout(this.timer);
    for (const line of this.lines.values()) line.remove();
    this.lines.clear();
  }
}
