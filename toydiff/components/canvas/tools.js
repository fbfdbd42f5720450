// The tools. A stroke has its place (`at`) and a number of its tool (`ahead`): the distance to the brush's next point,
// or the spray's points that are due. The picture reaches from -1 to 1; times are ms.

const GAP = 0.007; // distance between two points of the brush
const FLOW = 0.4; // points of the spray per ms
const DAB = 8; // points at the press of the button

function scatter(cloud, x, y, radius) {
  const [angle, away] = [2 * Math.PI * Math.random(), radius * Math.sqrt(Math.random())];
  cloud.add(x + away * Math.cos(angle), y + away * Math.sin(angle));
}

function dab(cloud, { at }, radius) {
  for (let i = 0; i < DAB; i++) scatter(cloud, at.x, at.y, radius);
}

// Points at even distances along the way, each a little off it.
function line(cloud, stroke, to, radius) {
  const { at } = stroke;
  const length = Math.hypot(to.x - at.x, to.y - at.y);
  let next = stroke.ahead;
  for (; next < length; next += GAP) {
    const part = next / length;
    scatter(cloud, at.x + part * (to.x - at.x), at.y + part * (to.y - at.y), radius);
  }
  stroke.ahead = next - length;
}

// FLOW points per ms, anywhere between the place that was sprayed last and the present one.
function mist(cloud, stroke, ms, radius) {
  const { at, sprayed } = stroke;
  stroke.ahead += FLOW * ms;
  for (; stroke.ahead >= 1; stroke.ahead--) {
    const part = Math.random();
    scatter(cloud, at.x + part * (sprayed.x - at.x), at.y + part * (sprayed.y - at.y), radius);
  }
  stroke.sprayed = at;
}

// touch: when the stroke begins; move: on the way to the next place; hold: as time goes by.
export const TOOLS = {
  brush: { radii: [0.015, 0.04, 0.09], touch: dab, move: line },
  spray: { radii: [0.09, 0.18, 0.36], touch: dab, hold: mist },
  eraser: {
    radii: [0.05, 0.11, 0.24],
    touch: (cloud, { at }, radius) => cloud.erase(at, at, radius),
    move: (cloud, { at }, to, radius) => cloud.erase(at, to, radius),
  },
};
