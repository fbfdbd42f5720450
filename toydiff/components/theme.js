// Chooses the light or the dark colours (from Python) by Streamlit's background, gives them to the style sheet and
// returns them.
export function dressed(root, themes) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = getComputedStyle(root).getPropertyValue("--st-background-color").trim() || "#ffffff";
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(pen.fillStyle.slice(at, at + 2), 16));
  root.dataset.theme = 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
  const theme = themes[root.dataset.theme];
  for (const [part, colour] of Object.entries(theme)) {
    if (part !== "hues") root.style.setProperty(`--${part}`, colour);
  }
  return theme;
}
