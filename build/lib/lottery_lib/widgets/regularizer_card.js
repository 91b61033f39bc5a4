// One penalty on a mask, four ways: its value, its slope, and what it and weight decay together charge a weight.
import { choice, frame, html, plot, shown, slider, speaker } from "./common.js";
import { induced, regularizer } from "./regularizers.js";

const SHAPES = { // of each penalty: its trait, and the slider on it
  log: ["eps", { label: "shape ε", min: 0.01, max: 10, log: true }],
  lp: ["p", { label: "shape p", min: 0.05, max: 0.95, steps: 90 }],
  mcp: ["gamma", { label: "shape γ", min: 1, max: 10, log: true }],
  exponential: ["s", { label: "shape s", min: 0.02, max: 2, log: true }],
};
const NAMES = { l1: "ℓ1", log: "log", lp: "ℓp", mcp: "MCP", exponential: "exponential" };
const POINTS = 120;
const M = { min: 0, max: 1, label: "mask entry m" }, U = { min: 0, max: 2, label: "weight |w|, in units of √(λ/µ)" };
const along = ({ min, max }) => Array.from({ length: POINTS + 1 }, (_, k) => min + ((max - min) * k) / POINTS);

function render({ model, el }) {
  const root = frame(el, "Regulariser card: a penalty on the mask, and what it charges a weight");
  const bar = html("div", { className: "controls" }, root);
  choice(bar, model, "regularizer", { label: "penalty", options: NAMES });
  const shapes = Object.fromEntries(Object.entries(SHAPES).map(([name, [trait, range]]) =>
    [name, slider(root, model, trait, range)]));
  const plots = html("div", { className: "plots" }, root);
  const panels = {
    value: plot(plots, { title: "penalty r(m)", x: M, y: { min: 0, max: 1 } }),
    slope: plot(plots, { title: "its pull, the slope r′(m)", x: M, y: { min: 0.01, max: 100, log: true } }),
    price: plot(plots, { title: "what a weight pays, in units of λ", x: U, y: { min: 0, max: 3 } }),
    split: plot(plots, { title: "the m that pays it", x: U, y: { min: 0, max: 1 } }),
  };
  const key = html("p", { className: "key" }, root);
  const chosen = html("span", { className: "chosen" }, key);
  html("span", { className: "reference", textContent: "ℓ1" }, key);
  html("span", { className: "ideal", textContent: "counting kept weights (ℓ0), with weight decay" }, key);
  const say = speaker(root);
  const tables = { l1: curves(regularizer("l1")) };

  function draw() {
    const name = model.get("regularizer"), [trait, range] = SHAPES[name] ?? [], shape = trait && model.get(trait);
    for (const other in shapes) shapes[other].hidden = other !== name;
    const r = regularizer(name, shape), found = curves(r);
    for (const [panel, { layer }] of Object.entries(panels)) {
      layer.replaceChildren();
      if (panel === "price") line(panel, along(U).map((u) => [u, 1 + u ** 2 / 2]), "ideal");
      line(panel, tables.l1[panel], "reference");
      line(panel, found[panel], "chosen");
    }
    const called = trait ? `${NAMES[name]}, ${range.label.slice(6)} = ${shown(shape)}` : NAMES[name];
    chosen.textContent = called;
    const full = threshold(r);
    say(`${called}: the pull is ${shown(r.gradient(0))} at m = 0 and ${shown(r.gradient(1))} at m = 1. ` +
      (full ? `From |w| = ${shown(full)} √(λ/µ) on, m stays 1. ` : "No weight shown keeps m = 1. ") +
      `A weight of 0.2 √(λ/µ) pays ${shown(induced(r, 0.2).price)} λ, ` +
      `one of 1 √(λ/µ) ${shown(induced(r, 1).price)} λ.`);
  }
  function line(panel, points, name) {
    const { min, max } = { value: M, split: M, slope: { min: 0.01, max: 100 }, price: { min: 0, max: 3 } }[panel];
    panels[panel].line(points.filter(([, y]) => y >= min && y <= max), name);
  }

  model.on("change:regularizer", draw);
  for (const [trait] of Object.values(SHAPES)) model.on(`change:${trait}`, draw);
  draw();
}

/** The points of the four curves of a penalty. */
function curves(r) {
  const least = along(U).map((u) => [u, induced(r, u)]);
  return {
    value: along(M).map((m) => [m, r.value(m)]),
    slope: along(M).map((m) => [m, r.gradient(m)]),
    price: least.map(([u, { price }]) => [u, price]),
    split: least.map(([u, { m }]) => [u, m]),
  };
}

/** The least u that keeps m = 1, or 0 if none on the axis does: the best m grows with u. */
function threshold(r) {
  let low = 0, high = U.max;
  if (induced(r, high).m < 1) return 0;
  while (high - low > 1e-4) {
    const middle = (low + high) / 2;
    if (induced(r, middle).m < 1) low = middle;
    else high = middle;
  }
  return high;
}

export default { render };
