// Buttons, slider and toggles: they tell the player what to do, and show what it does.

import { clockText } from "./panels.js";

const OFFERED = ["guess", "anatomy", "density"]; // toggles that are hidden unless the film offers them

export class Controls {
  constructor(root, act) {
    this.root = root;
    this.slider = root.querySelector(".slider");
    this.now = root.querySelector(".now");
    this.play = root.querySelector("[data-do=play]");
    this.speeds = [...root.querySelectorAll("[data-speed]")];
    this.toggles = [...root.querySelectorAll("[data-toggle]")];

    for (const button of root.querySelectorAll("[data-do]")) button.onclick = () => act[button.dataset.do]();
    for (const button of this.speeds) button.onclick = () => act.speed(Number(button.dataset.speed));
    for (const button of this.toggles) button.onclick = () => act.toggle(button.dataset.toggle);
    this.kinds = root.querySelector(".kinds");
    this.kinds.onclick = ({ target }) => target.dataset.kind && act.kind(Number(target.dataset.kind));
    this.slider.oninput = () => act.seek(Number(this.slider.value));
    // After a mouse click the player takes the focus back: else space would press that button once more.
    root.addEventListener("click", (event) => {
      if (event.detail > 0 && event.target.closest("button")) root.focus({ preventScroll: true });
    });
  }

  // Sets the texts, and shows the controls that this film needs: once per film.
  fill(film) {
    const { labels } = film;
    for (const place of this.root.querySelectorAll("[data-say]")) place.textContent = labels[place.dataset.say];
    for (const place of this.root.querySelectorAll("[data-name]")) this.name(place, labels[place.dataset.name]);
    this.root.setAttribute("aria-label", labels.player);
    this.labels = labels;
    this.slider.max = film.last;
    this.root.classList.toggle("still", film.frames < 2);
    this.root.classList.toggle("compact", film.options.compact);
    this.root.classList.toggle("picks", Boolean(film.options.pick));
    for (const button of this.toggles) {
      const { toggle } = button.dataset;
      if (OFFERED.includes(toggle)) button.hidden = !film.options.offers.includes(toggle);
    }
    const layers = film.panels.some((panel) => panel.arrows || panel.heat);
    this.toggle("particles").hidden = !layers || film.particles === 0;
    this.toggle("trails").hidden = !film.framed;
    this.toggle("equal").hidden = !film.field?.spacing;
    this.fillKinds(film.field?.kinds ?? []);
  }

  toggle(name) {
    return this.toggles.find((button) => button.dataset.toggle === name);
  }

  // A button for each kind of arrow. Those that are there stay: one of them may have the focus.
  fillKinds(kinds) {
    this.kinds.hidden = kinds.length < 2;
    while (this.kinds.childElementCount > kinds.length) this.kinds.lastElementChild.remove();
    kinds.forEach(({ name }, i) => {
      const button = this.kinds.children[i] ?? this.kinds.appendChild(document.createElement("button"));
      button.dataset.kind = i;
      button.textContent = name;
    });
  }

  name(element, text) {
    element.setAttribute("aria-label", text);
    if (element.tagName === "BUTTON") element.title = text;
  }

  // Shows the state of buttons and toggles: after every press.
  show({ clock, on, kind }) {
    this.root.dataset.playing = clock.playing;
    this.name(this.play, clock.playing ? this.labels.pause : this.labels.play);
    for (const button of this.speeds) button.setAttribute("aria-pressed", Number(button.dataset.speed) === clock.speed);
    for (const button of this.toggles) {
      button.setAttribute("aria-pressed", Boolean(on[button.dataset.toggle]));
      // step anatomy draws arrows instead
      if (button.dataset.toggle === "trails") button.disabled = clock.slow || !on.particles;
    }
    for (const button of this.kinds.children) button.setAttribute("aria-pressed", Number(button.dataset.kind) === kind);
  }

  // Moves the thumb of the slider: at every drawing.
  move(clock) {
    const position = clock.playing ? clock.position : clock.target;
    this.slider.value = position;
    this.slider.style.setProperty("--done", clock.last ? position / clock.last : 0);
  }

  // Writes the texts: at every new frame.
  write(film, frame) {
    const text = clockText(film, film.ticks[frame]);
    this.now.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
    this.root.dataset.frame = frame;
    this.root.dataset.tick = film.ticks[frame] ?? "";
  }
}
