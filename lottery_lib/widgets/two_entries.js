// One entry to keep and one to drop: where λR takes the mask, and how far the bounds let it go.
import { frame, html, plot, shown, slider, speaker, svg } from "./common.js";
import { regularizer } from "./regularizers.js";

const POINTS = 400; // of a scan for the zeros of a derivative
const SIDE = { min: 0, max: 1 };

/** ∇L and ∇²L of L = ½(m − m̃)ᵀH(m − m̃), m̃ = (1, 0), whose least curvature is γ; ρ ties the two entries. */
export function loss(gamma, rho) {
  const scale = gamma / (1 - Math.abs(rho)), cross = scale * rho;
  return {
    scale, cross, gamma,
    gradient: ([a, b]) => [scale * (a - 1) + cross * b, cross * (a - 1) + scale * b],
    value: ([a, b]) => (scale * ((a - 1) ** 2 + b ** 2)) / 2 + cross * (a - 1) * b,
  };
}

/** All stationary points of L + λR on the box, as `{ m, minimum, distance }`, the nearest to m̃ first. */
export function stationary(problem, r, lam) {
  const { scale, cross, gradient } = problem, found = [];
  const slope = (m) => gradient(m).map((g, i) => g + lam * r.gradient(m[i]));
  const bend = (u) => (lam * (r.gradient(u + 1e-5) - r.gradient(Math.max(u - 1e-5, 0)))) / (u < 1e-5 ? u + 1e-5 : 2e-5);
  const free = (u) => u > 0 && u < 1;
  function add(m) {
    const g = slope(m);
    if (m.some((u, i) => (u === 0 && g[i] < 0) || (u === 1 && g[i] > 0))) return; // the box does not hold it
    const [first, second] = m.map((u) => scale + bend(u));
    const both = free(m[0]) && free(m[1]);
    const minimum = both ? first > 0 && first * second > cross ** 2 : !(free(m[0]) && first < 0) && !(free(m[1]) && second < 0);
    found.push({ m, minimum, distance: Math.hypot(m[0] - 1, m[1]) });
  }
  for (const a of [0, 1]) for (const b of [0, 1]) add([a, b]);
  for (const edge of [0, 1]) {
    zeros((u) => slope([u, edge])[0]).forEach((u) => add([u, edge]));
    zeros((u) => slope([edge, u])[1]).forEach((u) => add([edge, u]));
  }
  if (cross) { // inside: the second derivative gives the kept entry, the first must then vanish
    const kept = (b) => 1 - (scale * b + lam * r.gradient(b)) / cross;
    zeros((b) => slope([kept(b), b])[0]).forEach((b) => free(kept(b)) && add([kept(b), b]));
  }
  return found.sort((p, q) => p.distance - q.distance);
}

/** The zeros of f inside (0, 1), by a scan and bisection. */
function zeros(f) {
  const found = [];
  for (let k = 0; k < POINTS; k++) {
    let low = Math.max(k / POINTS, 1e-9), high = Math.min((k + 1) / POINTS, 1 - 1e-9);
    if (f(low) * f(high) > 0) continue;
    while (high - low > 1e-12) {
      const middle = (low + high) / 2;
      if (f(low) * f(middle) <= 0) high = middle;
      else low = middle;
    }
    const zero = (low + high) / 2;
    if (!(zero - found.at(-1) < 1e-9)) found.push(zero); // one between two steps of the scan is met in both
  }
  return found;
}

/** The bounds with one kept entry: x of ℓ1, and D₁ and D₂ of the logarithm, null where there is no gap. */
export function bounds(lam, gamma, eps) {
  const x = lam / gamma, root = (1 + eps) ** 2 - (4 * x) / Math.log1p(1 / eps);
  const [first, second] = root < 0 ? [null, null] : [-1, 1].map((sign) => (1 + eps + sign * Math.sqrt(root)) / 2);
  return { x, first, second };
}

function render({ model, el }) {
  const root = frame(el, "One entry to keep and one to drop: stationary points and bounds");
  const bar = html("div", { className: "sliders" }, root);
  slider(bar, model, "lam", { label: "λ", min: 0.01, max: 1, log: true });
  slider(bar, model, "eps", { label: "ε", min: 0.01, max: 1, log: true });
  slider(bar, model, "gamma", { label: "curvature γ", min: 0.2, max: 2, log: true });
  slider(bar, model, "rho", { label: "correlation ρ", min: -0.9, max: 0.9, steps: 36 });
  const plots = html("div", { className: "plots" }, root);
  const plane = plot(plots, { title: "entry to drop (the target: lower right)", x: { ...SIDE, label: "entry to keep" },
    y: { ...SIDE }, width: 320, height: 328 });
  const along = { x: { ...SIDE, label: "entry to keep, the other at 0" }, y: { min: 0, max: 1 } };
  const cost = plot(plots, { title: "what it costs, L + λR", ...along, width: 320, height: 328 });
  const key = html("p", { className: "key" }, root);
  for (const [name, text] of [["chosen", "log"], ["reference", "ℓ1, and its bound x"], ["gap", "where log cannot end"]])
    html("span", { className: name, textContent: text }, key);
  html("p", { className: "note", textContent: "Filled: minima. Hollow: other stationary points." }, root);
  const say = speaker(root);

  function draw() {
    const [lam, eps, gamma, rho] = ["lam", "eps", "gamma", "rho"].map((name) => model.get(name));
    const problem = loss(gamma, rho), limit = bounds(lam, gamma, eps);
    const ways = [["reference", regularizer("l1")], ["chosen", regularizer("log", eps)]];
    plane.layer.replaceChildren();
    if (limit.first !== null) {
      const ring = [...arc(limit.first), ...arc(limit.second).reverse()];
      const path = ring.map(([a, b]) => `${plane.X(a).toFixed(1)},${plane.Y(b).toFixed(1)}`).join(" ");
      svg("polygon", { points: path, class: "gap" }, plane.layer);
    }
    plane.line(arc(limit.x), "reference");
    const grid = Array.from({ length: POINTS + 1 }, (_, k) => k / POINTS);
    const curves = ways.map(([, r]) => grid.map((a) => [a, problem.value([a, 0]) + lam * r.value(a)]));
    cost.rescale({ ...along, y: { min: 0, max: Math.max(...curves.flat().map(([, y]) => y)) } });
    const told = ways.map(([name, r], i) => {
      const points = stationary(problem, r, lam);
      cost.line(curves[i], name);
      for (const { m, minimum } of points) {
        const look = `point ${name}${minimum ? "" : " hollow"}`, size = name === "chosen" ? 5 : 7;
        svg("circle", { cx: plane.X(m[0]), cy: plane.Y(m[1]), r: size, class: look }, plane.layer);
        const y = problem.value(m) + lam * (r.value(m[0]) + r.value(m[1]));
        if (m[1] === 0) svg("circle", { cx: cost.X(m[0]), cy: cost.Y(y), r: size, class: look }, cost.layer);
      }
      return points.filter(({ minimum }) => minimum).map(({ distance }) => shown(distance)).join(" and ");
    });
    const words = `ℓ1 ends ${told[0]} from the target, and its bound is ${shown(limit.x)}; log's minima lie ${told[1]} from it. ` +
      (limit.first === null ? "The bound leaves no gap: λ is too large for it."
        : `Log cannot end between ${shown(limit.first)} and ${shown(limit.second)}.`);
    plane.describe(words);
    cost.describe("log solid, ℓ1 dashed");
    say(words);
  }
  for (const name of ["lam", "eps", "gamma", "rho"]) model.on(`change:${name}`, draw);
  draw();
}

/** The points of the box at this distance from its corner (1, 0), or on its border where that is nearer. */
function arc(radius) {
  return Array.from({ length: 61 }, (_, k) => {
    const angle = (Math.PI * (1 + k / 60)) / 2, [x, y] = [-Math.cos(angle), Math.sin(angle)];
    const length = Math.min(radius, 1 / Math.max(x, y));
    return [1 - length * x, length * y];
  });
}

export default { render };
