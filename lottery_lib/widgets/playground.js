// The sanity experiment, in the browser: a mask by projected gradient and weights by subgradient, from the same start.
// What is seen depends on the controls and the number of iterations alone: when a control moves, both runs start anew.
import { calm, canvas, choice, frame, html, linkWords, shown, slider, speaker } from "./common.js";
import { init, magnitudes, problem, step, summary } from "./logistic.js";

const VARIABLES = { mask: "mask", weights: "weights" };
const SETTINGS = ["penalty", "lam", "eps", "step", "mask_step", "weight_decay", "lipschitz"];
const SPAN = 240, LAST = 16 * SPAN; // iterations on the axis at first, and where a run ends
const BEAT = 30; // iterations after which the words beside a run that plays are new
const SLICE = 8; // milliseconds a frame for iterations to catch up
const CALM = { pause: 500, iterations: 30 }; // how a run goes on for readers who want little motion
const BINS = 20;
const START = "Nothing is decided yet: every mask entry is 1. Press Play.";
const NUMBERS = [
  ["loss", "training loss", (value) => value.toFixed(4)],
  ["objective", "… with penalty", (value) => value.toFixed(4)],
  ["zeros", "exactly zero", percent],
  ["density", "density, ≥ α", shown],
  ["flips", "sign changes, last step", String],
  ["accuracy", "test accuracy", percent],
  ["ticket", "… of what is ≥ α alone", percent],
];

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function render({ model, el }) {
  const data = problem(bytes(model.get("pixels")), bytes(model.get("labels")), model.get("train"));
  const starts = new Float64Array(bytes(model.get("starts")).slice().buffer), traced = model.get("traced");
  let runs, paths, target = model.get("iterations"), playing = false, pending = false;

  const restart = () => {
    const settings = Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
    const seed = model.get("seed"), start = starts.slice(seed * data.d, (seed + 1) * data.d);
    runs = Object.keys(VARIABLES).map((variable) => init(data, start, { ...settings, variable }));
    paths = runs.map((run) => traced.map((i) => [follow(run, i)]));
  };
  const follow = (run, i) => (run.settings.variable === "mask" ? run.m : run.w)[i];
  const advance = () => runs.forEach((run, k) => {
    step(data, run);
    traced.forEach((i, line) => paths[k][line].push(follow(run, i)));
  });

  const root = frame(el, "Playground: a mask by projected gradient beside weights by subgradient");
  if (model.get("small")) root.classList.add("small");
  const bar = html("div", { className: "controls" }, root);
  const play = html("button", { type: "button", className: "play" }, bar);
  const button = (textContent, onclick) => html("button", { type: "button", className: "whole", textContent, onclick }, bar);
  button("Step", () => go({ target: target + 1 }));
  button("Restart", () => { restart(); go({ target: 0 }); });
  const seeds = html("select", {}, html("label", { className: "whole", textContent: "seed " }, bar));
  seeds.append(...Array.from({ length: starts.length / data.d }, (_, seed) => new Option(seed)));
  const clock = html("output", { className: "clock", ariaLive: "off" }, bar);

  const choices = html("div", { className: "controls whole" }, root);
  choice(choices, model, "penalty", { label: "penalty", options: { log: "log", l1: "ℓ1" } });
  choice(choices, model, "variable", { label: "image and histogram", options: VARIABLES });

  const stage = html("div", { className: "stage" }, root);
  const left = html("div", { className: "pictures" }, stage), right = html("div", {}, stage);
  const titled = (parent) => {
    const box = html("div", {}, parent);
    return { box, title: html("p", { className: "title" }, box) };
  };
  const image = titled(left), histogram = titled(left), lanes = Object.keys(VARIABLES).map(() => titled(right));
  lanes[1].box.className = "whole";
  lanes[0].title.textContent = "mask entries m, projected gradient";
  lanes[1].title.textContent = "weights w, subgradient (square-root scale)";
  image.view = canvas(image.box, { label: "One cell a pixel", height: 176, draw: drawImage });
  histogram.view = canvas(histogram.box, { label: "Histogram", height: 110, draw: drawHistogram });
  lanes.forEach((lane, k) => {
    lane.view = canvas(lane.box, {
      label: `Paths of ${traced.length} entries over the iterations`, height: 132,
      draw: (...page) => { drawAxes(k, ...page); drawPaths(k, 0, ...page); },
    });
  });

  const sliders = html("div", { className: "sliders" }, root);
  slider(sliders, model, "lam", { label: "λ, penalty", min: 1e-4, max: 0.1, log: true });
  const others = html("div", { className: "sliders whole" }, root);
  slider(others, model, "eps", { label: "ε of the log", min: 0.01, max: 10, log: true });
  slider(others, model, "alpha", { label: "α, threshold", min: 1e-3, max: 1, log: true });
  slider(others, model, "step", { label: "step of θ and w", min: 0.1, max: 1.9, steps: 36 });
  slider(others, model, "mask_step", { label: "step of m", min: 0.1, max: 10, steps: 40, log: true });
  const cells = numbers(root), say = speaker(root);

  // Drawing.

  let drawn, span, range; // what the lanes show: iterations drawn, the length of their axis, least and largest weight
  const selected = () => runs[Object.keys(VARIABLES).indexOf(model.get("variable"))];

  function drawImage(context, width, height, colour) {
    const size = magnitudes(selected()), side = Math.round(Math.sqrt(data.d)), cell = height / side;
    const largest = model.get("variable") === "mask" ? 1 : Math.max(...size);
    size.forEach((value, i) => {
      context.fillStyle = colour(value >= model.get("alpha") ? "mark" : "muted"); // what α prunes is grey
      context.globalAlpha = value / largest;
      context.fillRect((i % side) * cell, Math.floor(i / side) * cell, cell, cell);
    });
    context.globalAlpha = 1;
    context.strokeStyle = colour("rule");
    context.strokeRect(0.5, 0.5, height - 1, height - 1);
    context.lineWidth = 2;
    traced.forEach((i, line) => {
      context.strokeStyle = colour(kind(line));
      context.strokeRect((i % side) * cell + 1, Math.floor(i / side) * cell + 1, cell - 2, cell - 2);
    });
    context.lineWidth = 1;
  }

  function drawHistogram(context, width, height, colour) {
    const size = magnitudes(selected()), mask = model.get("variable") === "mask", alpha = model.get("alpha");
    const top = mask ? 1 : Math.max(...size, alpha), floor = height - 16, bar = (width - 1) / (BINS + 2);
    const counts = new Array(BINS + 2).fill(0); // exactly 0, the bins between, and exactly 1 for a mask
    for (const value of size) counts[place(value / top)] += 1;
    const between = data.d - counts[0] - counts.at(-1);
    histogram.view.node.setAttribute("aria-label", mask
      ? `Histogram of m: ${counts[0]} at 0, ${between} between, ${counts.at(-1)} at 1`
      : `Histogram of |w|: ${counts[0]} at 0, the others up to ${shown(top)}`);
    const tall = (count) => (Math.log1p(count) / Math.log1p(data.d)) * (floor - 12);
    counts.forEach((count, k) => {
      context.fillStyle = colour(k ? "mark" : "contrast");
      context.fillRect(k * bar + 1, floor - tall(count), bar - 1, tall(count));
    });
    const x = bar + (alpha / top) * BINS * bar;
    context.strokeStyle = colour("ink");
    context.setLineDash([3, 3]);
    stroke(context, [[x, 0], [x, floor]]);
    context.setLineDash([]);
    const label = (text, at, count) => { // above its bar, with a rim, as the threshold's line may pass behind it
      context.lineWidth = 3;
      context.strokeStyle = colour("ground");
      context.strokeText(text, at, floor - tall(count) - 3);
      context.lineWidth = 1;
      context.fillText(text, at, floor - tall(count) - 3);
    };
    context.fillStyle = colour("ink");
    if (counts[0]) label(`${counts[0]} at 0`, 1, counts[0]);
    context.fillText("0", 1, height - 4);
    context.textAlign = "right";
    if (mask && counts.at(-1)) label(`${counts.at(-1)} at 1`, width, counts.at(-1));
    context.fillText(shown(top), width, height - 4);
    context.textAlign = "center";
    context.fillText("α", Math.min(Math.max(x, 14), width - 14), height - 4);
    context.textAlign = "start";
    context.strokeStyle = colour("rule");
    stroke(context, [[0, floor + 0.5], [width, floor + 0.5]]);
  }

  /** Where on a lane an iteration and a value lie: a mask between 0 and 1, a weight on a signed square-root scale. */
  function scales(k, width, height) {
    const floor = height - 16, left = 16, bend = k ? (value) => Math.sign(value) * Math.sqrt(Math.abs(value)) : Number;
    const [low, high] = (k ? range : [0, 1]).map(bend);
    return [
      (t) => left + (t / span) * (width - left - 6),
      (value) => floor - ((bend(value) - low) / (high - low)) * (floor - 6),
    ];
  }

  function drawAxes(k, context, width, height, colour) {
    const [X, Y] = scales(k, width, height), marks = k ? [range[0], 0, range[1]] : [0, 1];
    context.strokeStyle = colour("rule");
    stroke(context, [[X(0), Y(marks[0])], [X(0), Y(marks.at(-1))]]);
    stroke(context, [[X(0), Y(0)], [X(span), Y(0)]]);
    context.fillStyle = colour("muted");
    context.textAlign = "right";
    for (const value of marks) context.fillText(value, X(0) - 3, Y(value) + (value > 0 ? 8 : 4));
    context.fillText(`iteration ${span}`, X(span), height - 3);
    context.textAlign = "start";
  }

  function drawPaths(k, from, context, width, height, colour) {
    const [X, Y] = scales(k, width, height), t = runs[k].t;
    paths[k].forEach((path, line) => {
      context.strokeStyle = colour(kind(line));
      context.lineWidth = line < traced.length / 2 ? 1.6 : 1;
      stroke(context, Array.from({ length: t - from + 1 }, (_, j) => [X(from + j), Y(path[from + j])]));
    });
    context.lineWidth = 1;
  }

  const kind = (line) => (line < traced.length / 2 ? "mark" : "contrast");

  function redraw() {
    const t = runs[0].t, anew = !(t >= drawn), now = paths[1].map((path) => path[t]);
    const old = anew ? [SPAN, [-1, 2]] : [span, range];
    const wanted = [grown(old[0], t), [-grown(-old[1][0], -Math.min(...now)), grown(old[1][1], Math.max(...now))]];
    [span, range] = wanted;
    if (anew || String(wanted) !== String(old)) lanes.forEach((lane) => lane.view.redraw());
    else lanes.forEach((lane, k) => lane.view.paint((...page) => drawPaths(k, drawn, ...page)));
    drawn = t;
    const mask = model.get("variable") === "mask";
    image.title.textContent = mask ? "mask m as an image" : "|w| as an image";
    histogram.title.textContent = mask ? "histogram of m" : "histogram of |w|";
    image.view.redraw();
    histogram.view.redraw();
    clock.textContent = `iteration ${t}`;
    const found = runs.map((run) => summary(data, run, model.get("alpha")));
    found.forEach((values, k) => NUMBERS.forEach(([name, , format], row) => {
      cells[row][k].textContent = format(values[name]);
    }));
    return found;
  }

  function sentence([mask, weights]) {
    const count = (share) => Math.round(share * data.d), ones = runs[0].m.filter((value) => value === 1).length;
    return `After ${runs[0].t} iterations, of ${data.d} mask entries ${count(mask.zeros)} are exactly 0, ${ones} ` +
      `exactly 1 and ${data.d - ones - count(mask.zeros)} in between; ${mask.flips} weights changed sign in the ` +
      "last step. " +
      `Under the subgradient, ${count(weights.zeros)} weights are exactly 0 and ${weights.flips} changed sign. ` +
      `Test accuracy ${percent(mask.accuracy)} and ${percent(weights.accuracy)}.`;
  }

  // Running.

  function tick() {
    pending = false;
    if (playing) target = Math.min(target + (calm() ? CALM.iterations : 1), LAST);
    for (const end = performance.now() + SLICE; runs[0].t < target;) {
      advance();
      if (performance.now() > end) break;
    }
    if (target === LAST) playing = false;
    go({});
  }

  /** Draw, and come back for the next frame if there is more to do. */
  function go(change) {
    if ("target" in change) {
      playing = false;
      target = Math.min(change.target, LAST);
    }
    const behind = runs[0].t < target;
    const found = redraw();
    const t = runs[0].t, pressed = playing && t === 0;
    if (!behind && !pressed && (!playing || t % BEAT === 0)) say(t ? sentence(found) : START, !playing || t % SPAN === 0);
    play.textContent = playing ? "Pause" : "Play";
    play.classList.toggle("first", !playing && t === 0);
    if (!(behind || playing) || pending) return;
    pending = true;
    if (playing && !behind && calm()) setTimeout(tick, CALM.pause);
    else requestAnimationFrame(tick);
  }

  play.onclick = () => {
    if (target === LAST) { restart(); target = 0; } // from the end it plays anew
    playing = !playing;
    go({});
  };
  seeds.value = model.get("seed");
  seeds.onchange = () => { model.set("seed", Number(seeds.value)); model.save_changes(); };
  model.on("change:seed", () => { seeds.value = model.get("seed"); });
  for (const name of [...SETTINGS, "seed"]) model.on(`change:${name}`, () => { restart(); go({}); });
  for (const name of ["alpha", "variable"]) model.on(`change:${name}`, () => go({}));
  const opened = Object.fromEntries([...SETTINGS, "alpha", "seed", "variable"].map((name) => [name, model.get(name)]));
  linkWords(model, "playground", el, opened, () => { restart(); go({ target: SPAN }); }); // they promise that many
  restart();
  go({});
  return () => { playing = false; }; // when the view is removed
}

/** The table of numbers, a column a method: its cells by row and column. */
function numbers(parent) {
  const table = html("table", { className: "numbers whole" }, parent);
  const head = html("tr", {}, html("thead", {}, table)), body = html("tbody", {}, table);
  html("td", {}, head);
  for (const label of Object.values(VARIABLES)) html("th", { scope: "col", textContent: label }, head);
  return NUMBERS.map(([, label]) => {
    const row = html("tr", {}, body);
    html("th", { scope: "row", textContent: label }, row);
    return Object.keys(VARIABLES).map(() => html("td", {}, row));
  });
}

/** `size` doubled until `value` fits. */
function grown(size, value) {
  while (size < value) size *= 2;
  return size;
}

/** The bin of a value in [0, 1]: 0 for exactly 0, BINS + 1 for exactly 1. */
function place(value) {
  return value === 0 ? 0 : value === 1 ? BINS + 1 : 1 + Math.floor(value * BINS);
}

function stroke(context, points) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  context.stroke();
}

export default { render };
