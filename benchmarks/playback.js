// Measured in the browser, by benchmarks/playback.py.

const find = (root) => root.querySelector(".player[data-frame]")
  ?? [...root.querySelectorAll("*")].map((e) => e.shadowRoot && find(e.shadowRoot)).find(Boolean);
const shown = { player: () => find(document), plotly: () => document.querySelector(".scatterlayer .point") };

// ms from the click until the browser has painted the first picture
window.first = (name) => new Promise((done) => {
  const began = performance.now();
  const look = () => shown[name]() || performance.now() - began > 60000
    ? requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)))
    : requestAnimationFrame(look);
  [...document.querySelectorAll("button")].find((button) => button.innerText === name).click();
  look();
});

// pictures per second that the browser paints
window.rate = (ms) => new Promise((done) => {
  let pictures = 0, began = null;
  const next = (now) => {
    began ??= now;
    if (now - began >= ms) return done((1000 * pictures) / (now - began));
    pictures += 1;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
});
