// The explorer of density, λ and α. It works from the tables in the page; what a kernel computed (`view`) comes first where it fits.
import { bars, choice, frame, greet, html, linkWords, plot, scientific, shown, speaker, svg } from "./common.js";

const whole = (number) => number.toLocaleString("en");
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
const nearest = (items, distance) => items.reduce((best, item) => (distance(item) < distance(best) ? item : best));
const few = (number) => Number(number.toPrecision(3));
const SNAP = 2; // stops
const apart = (a, b) => Math.abs(Math.log(a / b));

/** The tasks of the model, each search with its `counts`: one array of bins + 2 a layer. */
async function unpack(model) {
  const deflated = new Blob([model.get("counts")]).stream();
  const inflated = new Response(deflated.pipeThrough(new DecompressionStream("deflate")));
  const counts = new Uint32Array(await inflated.arrayBuffer());
  const tasks = structuredClone(model.get("tasks"));
  let at = 0;
  for (const task of tasks)
    for (const search of task.searches)
      search.counts = task.layers.map(() => counts.subarray(at, (at += task.bins + 2)));
  return tasks;
}

/** What the traits point at: a task, one of its families of searches, and of that the search nearest in the density
 *  asked for, if it is calibrated, else in λ, then in η_m. */
function pointedAt(model, tasks) {
  const task = tasks.find(({ name }) => name === model.get("dataset")) ?? tasks[0];
  const families = [...new Set(task.searches.map(({ family }) => family))];
  const family = families.includes(model.get("regularizer")) ? model.get("regularizer") : families[0];
  const searches = task.searches.filter((search) => search.family === family);
  const [density, lam, rate] = ["density", "lam", "mask_lr"].map((name) => model.get(name));
  const search = nearest(searches, (known) => known.asked ? apart(known.asked, density)
    : apart(known.lam, lam) + 1e-6 * apart(known.mask_lr, rate));
  return { task, families, family, searches, search };
}

/** What keeping m ≥ α comes to, as `Search.at` says it in Python; α goes to the nearest that the record resolves. */
function lookup({ task, search }, asked) {
  const edges = Array.from({ length: task.bins }, (_, j) => (j + 1) / task.bins);
  const alpha = nearest([...edges, ...search.cuts.map((cut) => cut.alpha)], (known) => apart(known, asked));
  const cut = search.cuts.find((known) => known.alpha === alpha);
  const kept = cut?.kept ?? search.counts.map((counts) => sum(counts.subarray(1 + Math.round(alpha * task.bins))));
  const weights = sum(task.layers.map(([, size]) => size));
  const density = sum(kept) / weights;
  return { alpha, kept, density, exact: false, accuracy: worth(search.points, alpha, sum(kept), weights) };
}

/** The accuracy that is measured for this very ticket, or interpolated in log density between two, or unknown. */
function worth(points, alpha, kept, weights) {
  const measured = points.find((p) => p.alpha === alpha || Math.round(p.density * weights) === kept);
  if (measured) return { kind: "measured", ...measured };
  const below = points.filter((p) => p.density * weights < kept).at(-1);
  const above = points.find((p) => p.density * weights > kept);
  if (!below || !above) return { kind: "unknown" };
  const share = Math.log(kept / weights / below.density) / Math.log(above.density / below.density);
  const accuracy = below.accuracy + share * (above.accuracy - below.accuracy);
  return { kind: "interpolated", accuracy, between: [below.density, above.density] };
}

/** Where α's slider stops, about evenly in log α: at edges of bins, or for a mask at hand at two digits, from 0.001. */
function stops({ task, search }, exact) {
  const log = (from, count) => Array.from({ length: count + 1 }, (_, k) => from ** (1 - k / count));
  const even = exact
    ? log(1e-3, 120).map((alpha) => Number(alpha.toPrecision(2)))
    : log(1 / task.bins, 40).map((alpha) => Math.round(alpha * task.bins) / task.bins);
  return [...new Set([...even, ...search.cuts.map((cut) => cut.alpha)])].sort((a, b) => a - b);
}

/** A slider over a list of `values` that may change, hidden while there are none; `picked` is called with the value
 *  that the reader chose. Where some are `measured`, the others are shaded, and the pointer, let go, snaps to those. */
function stepper(parent, label, name, picked) {
  const line = html("label", { className: "slider" }, parent);
  html("span", { textContent: label }, line);
  const input = html("input", { type: "range", min: 0, step: 1, name }, line);
  const output = html("output", { ariaHidden: "true", ariaLive: "off" }, line); // spoken as the slider's value
  const marks = html("span", { className: "stops", hidden: true, ariaHidden: "true" }, line);
  let values = [], known = null;
  input.addEventListener("input", () => picked(values[input.value]));
  input.addEventListener("pointerup", () => {
    const at = Number(input.value), near = (known ?? []).filter((stop) => Math.abs(stop - at) <= SNAP);
    if (near.length) picked(values[nearest(near, (stop) => Math.abs(stop - at))]);
  });
  return (among, value, text, measured = null) => {
    values = among;
    known = measured && among.flatMap((each, stop) => measured(each) ? [stop] : []);
    line.hidden = !values.length;
    if (line.hidden) return;
    input.disabled = values.length < 2;
    marks.hidden = !known;
    marks.replaceChildren(...(known ?? []).map((stop) => {
      const mark = html("i", {});
      mark.style.left = `${(100 * stop) / (values.length - 1)}%`;
      return mark;
    }));
    input.max = values.length - 1;
    input.value = values.indexOf(value);
    output.textContent = text;
    input.setAttribute("aria-valuetext", text);
  };
}

/** A choice whose options may change: only then is it made anew, as who chooses by key is at it meanwhile. */
function offering(parent, model, name, label) {
  const place = html("div", { className: "place" }, parent);
  let offered = "";
  return (options) => {
    if (offered === (offered = JSON.stringify(options))) return;
    place.replaceChildren();
    choice(place, model, name, { label, options });
  };
}

function drawHistogram(chart, { task, search }, { alpha }) {
  const counts = Array.from({ length: task.bins + 2 }, (_, j) => sum(search.counts.map((layer) => layer[j])));
  chart.rescale({ y: { min: 0.7, max: 2 * Math.max(...counts), log: true } });
  bars(chart, counts, alpha);
  threshold(chart, alpha, `α = ${alpha}`);
  chart.describe(`of ${whole(sum(counts))} entries, ${whole(counts[0])} are exactly 0, ` +
    `${whole(sum(counts.slice(1, -1)))} lie between, ${whole(counts.at(-1))} are exactly 1`);
}

function threshold(chart, at, text) {
  const x = chart.X(at), [shift, anchor] = x > 220 ? [-5, "end"] : [5, "start"];
  chart.upright(at);
  const label = svg("text", { x: x + shift, y: chart.top + 9, "text-anchor": anchor, class: "halo" }, chart.layer);
  label.textContent = text;
}

function drawLayers(root, { task }, { kept }) {
  const longest = Math.max(...task.layers.map(([name]) => name.length));
  const row = 20, [from, to] = [Math.max(66, 12 + 6 * longest), 236], shares = task.layers.map(([, weights], k) => kept[k] / weights);
  root.setAttribute("viewBox", `0 0 300 ${24 + row * task.layers.length}`);
  root.replaceChildren();
  svg("text", { x: 4, y: 11, class: "title" }, root).textContent = "density, by layer";
  task.layers.forEach(([name], k) => {
    const y = 22 + k * row, width = (to - from) * shares[k];
    svg("text", { x: from - 6, y: y + 11, "text-anchor": "end" }, root).textContent = name;
    svg("rect", { x: from, y, width: to - from, height: 14, class: "track" }, root);
    svg("rect", { x: from, y, width: kept[k] ? Math.max(1, width) : 0, height: 14, class: "kept" }, root);
    svg("text", { x: to + 6, y: y + 11 }, root).textContent = shown(shares[k]);
  });
  const said = task.layers.map(([name], k) => `${name} ${shown(shares[k])}`).join(", ");
  root.setAttribute("aria-label", `density, by layer: ${said}`);
}

function drawCurve(chart, { task, search }, { density, accuracy: now }) {
  const [low, high] = task.span, densities = [...search.points, ...task.imp].map((point) => point.density);
  const least = Math.min(0.1, density || 1, ...densities) / 1.1;
  const lowest = Math.min(...[...search.points, ...task.imp].map((point) => point.accuracy)); // no dot lies outside
  const bottom = Math.min(low, Math.floor(lowest));
  chart.rescale({ x: { min: 1, max: least, log: true, label: "density" }, y: { min: bottom, max: high } });
  const y = (accuracy) => Math.min(chart.floor, Math.max(chart.top, chart.Y(accuracy)));  // ends of intervals, at the rim
  const dot = ({ density, accuracy }, r, name) =>
    svg("circle", { cx: chart.X(density), cy: y(accuracy), r, class: name }, chart.layer);
  const path = (d, name) => svg("path", { d, class: name }, chart.layer);
  const interval = (point, name) => point.half_width != null && path(
    `M${chart.X(point.density)} ${y(point.accuracy - point.half_width)}V${y(point.accuracy + point.half_width)}`, name);
  const line = (points, name) => points.length &&
    path(`M${points.map((point) => `${chart.X(point.density)} ${y(point.accuracy)}`).join("L")}`, name);
  const curve = (points, name) => {
    line(points, name);
    points.forEach((point) => { interval(point, name); dot(point, 2, `${name} point`); });
  };
  if (task.dense) path(`M${chart.X(1)} ${y(task.dense.accuracy)}H${chart.X(least)}`, "dense");
  curve(task.imp, "imp");
  curve(search.points, "ours");
  if (!density) return;
  if (now.kind === "unknown") return threshold(chart, density, "not measured");
  chart.upright(density);
  const ends = search.points.filter((point) => now.between?.includes(point.density));
  if (ends.length) line(ends, "interpolated");
  dot({ density, ...now }, 6, now.kind);
}

/** The lines' names, under the plots; what comes back is called with a task, and hides the lines that it lacks. */
function legend(parent) {
  const line = html("p", { className: "legend" }, parent);
  const names = { ours: "mask", imp: "IMP", dense: "dense", interpolated: "interpolated" };
  const items = Object.fromEntries(Object.entries(names).map(([name, text]) => {
    const item = html("span", {}, line);
    const key = svg("svg", { viewBox: "0 0 24 12", "aria-hidden": "true", class: "plot" }, item);
    svg("path", { d: "M0 6H24", class: name }, key);
    if (name === "interpolated") svg("circle", { cx: 12, cy: 6, r: 4.5, class: name }, key);
    item.append(` ${text}`);
    return [name, item];
  }));
  return ({ imp, dense }) => {
    items.imp.hidden = !imp.length;
    items.dense.hidden = !dense;
  };
}

function inWords({ kind, accuracy, half_width, n, between }) {
  if (kind === "unknown") return "not measured";
  if (kind === "measured")
    return `${accuracy.toFixed(2)} %${half_width == null ? "" : ` ± ${half_width.toFixed(2)}`}, measured (n = ${n})`;
  return `${accuracy.toFixed(2)} %, interpolated between the measured densities ${between.map(shown).join(" and ")}`;
}

/** The page's parts, and `draw(what, view)`, which brings them all up to date. */
function build(el, model) {
  const root = frame(el, "Explorer of density, λ and α");
  const pick = (traits) => { model.set(traits); model.save_changes(); };
  const choices = html("div", { className: "controls" }, root), sliders = html("div", { className: "sliders" }, root);
  const asked = stepper(sliders, "density asked for", "density", (search) => pick({ density: search.asked }));
  const lam = stepper(sliders, "λ, penalty", "lam", (search) => pick({ lam: search.lam, mask_lr: search.mask_lr }));
  const rate = stepper(sliders, "ηₘ, step of m", "mask_lr", (search) => pick({ lam: search.lam, mask_lr: search.mask_lr }));
  const alpha = stepper(sliders, "α, threshold", "alpha", (value) => pick({ alpha: value }));

  const panels = html("div", { className: "panels" }, root), empty = { min: 0.1, max: 1 };
  const entries = { min: -0.05, max: 1.05, label: "mask entry m after the search" };
  const histogram = plot(panels, { title: "entries of the mask", x: entries, y: { ...empty, log: true } });
  const curve = plot(panels, { title: "test accuracy of the ticket, %", x: empty, y: empty });
  const layers = svg("svg", { role: "img", class: "plot" }, panels);
  const words = html("div", {}, panels), named = legend(words), say = speaker(words);

  const buttons = html("div", { className: "controls" }, words);
  const button = (text, kind) => {
    const node = html("button", { type: "button", textContent: text, disabled: true }, buttons);
    node.addEventListener("click", () => model.send({ kind }));
    return node;
  };
  const retrain = button("Retrain this ticket", "retrain"), bring = button("Bring the mask here", "bring");
  const note = html("p", { className: "note" }, words);
  note.setAttribute("aria-live", "polite");

  const networks = offering(choices, model, "dataset", "network");
  const penalties = offering(choices, model, "regularizer", "regulariser");

  return (tasks, found, view, live) => {
    const { task, searches, search } = found, exact = live && search.exact, total = sum(view.kept);
    networks(Object.fromEntries(tasks.map(({ name, label }) => [name, label])));
    penalties(Object.fromEntries(found.families.map((family) => [family, family.replace("l1", "ℓ1")])));
    asked(search.asked ? searches : [], search, String(search.asked));
    const byHand = search.asked ? [] : searches, rates = [...new Set(byHand.map((known) => known.mask_lr))];
    const closest = (value) => value === search.mask_lr ? search
      : nearest(byHand.filter((known) => known.mask_lr === value), (known) => apart(known.lam, search.lam));
    lam(byHand.filter((known) => known.mask_lr === search.mask_lr), search, scientific(few(search.lam)));
    rate(rates.sort((a, b) => a - b).map(closest), search, String(few(search.mask_lr)));
    const among = stops(found, exact), measured = (stop) => lookup(found, stop).accuracy.kind === "measured";
    alpha(among, nearest(among, (stop) => apart(stop, view.alpha)), String(view.alpha), exact ? null : measured);
    drawHistogram(histogram, found, view);
    drawLayers(layers, found, view);
    drawCurve(curve, found, view);
    curve.describe(inWords(view.accuracy));
    named(task);
    const by = search.asked ? `Asked for a density of ${search.asked}, the search set ` : "";
    say(`${by}λ = ${scientific(few(search.lam))} with ηₘ = ${few(search.mask_lr)}, α = ${view.alpha}: ${whole(total)} of ` +
      `${whole(sum(task.layers.map(([, size]) => size)))} weights kept, density ${shown(view.density)}; ` +
      `test accuracy ${inWords(view.accuracy)}.`);
    const idle = live && !model.get("busy");
    retrain.disabled = !idle || search.asked || view.accuracy.kind === "measured";
    bring.disabled = !idle || exact;
    note.textContent = !live ? "Both need a Python kernel: open this page as a notebook."
      : model.get("note") || (exact ? "The mask is here: any α is exact." : `α moves in steps of ${1 / task.bins}.`);
    if (!exact) note.textContent += ` Measured: ${among.filter(measured).length} of ${among.length} stops of α, marked below it.`;
    note.textContent += ` ${search.asked ? "Searches of this kind whose ticket was" : "Tickets of this search that were"} ` +
      `retrained: ${search.points.length}.`;
    Object.assign(root.dataset, { lam: search.lam, rate: search.mask_lr, alpha: view.alpha, kept: view.kept.join(" "),
      asked: search.asked ?? "", density: view.density, kind: view.accuracy.kind, accuracy: view.accuracy.accuracy ?? "" }); // for tests
  };
}

async function render({ model, el }) {
  let tasks = await unpack(model), live = false;
  const draw = build(el, model), traits = ["dataset", "regularizer", "density", "lam", "mask_lr", "alpha"];
  const redraw = () => {
    const found = pointedAt(model, tasks), computed = model.get("view");
    const fits = String(computed.asked) === String(traits.map((name) => model.get(name)));
    draw(tasks, found, fits ? computed : lookup(found, model.get("alpha")), live);
  };
  model.on([...traits, "view", "busy", "note"].map((name) => `change:${name}`).join(" "), redraw);
  model.on("change:tasks change:counts", async () => { tasks = await unpack(model); redraw(); });
  model.on("change:dataset", () => {
    const { families, family } = pointedAt(model, tasks);
    if (!families.includes(model.get("regularizer"))) model.set("regularizer", family);
  });
  linkWords(model, "explorer", el);
  redraw();
  greet(model, () => { live = true; el.dataset.live = "1"; redraw(); });
}
export default { render };
