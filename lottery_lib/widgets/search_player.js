// A calibrated search as a film: one slider through its frames, and a button that moves it.
import { bars, calm, frame, html, plot, scientific, shown, slider, speaker, svg } from "./common.js";

const PAUSE = 90; // milliseconds a frame
const percent = (share) => `${shown(100 * share)} %`;

function render({ model, el }) {
  const root = frame(el, "A calibrated search, from its first step to its last");
  const frames = model.get("frames"), alpha = model.get("alpha"), asked = model.get("asked");
  const bar = html("div", { className: "controls" }, root);
  const play = html("button", { type: "button", textContent: "Play" }, bar);
  const sliders = html("div", { className: "sliders" }, root);
  const time = slider(sliders, model, "frame", {
    label: "time", min: 0, max: frames.length - 1, steps: frames.length - 1,
    format: (k) => `${Math.round(100 * frames[k].done)} %`,
  });
  const plots = html("div", { className: "plots" }, root), most = 2 * Math.max(...frames.flatMap(({ counts }) => counts));
  const histogram = plot(plots, {
    title: "entries of the mask", x: { min: -0.05, max: 1.05, label: "mask entry m" },
    y: { min: 0.7, max: most, log: true },
  });
  const least = Math.min(asked, ...frames.map(({ density }) => density || 1)) / 1.5;
  const left = plot(plots, {
    title: "share of entries with m ≥ α", x: { min: 0, max: 100, label: "% of the search" },
    y: { min: least, max: 1.3, log: true },
  });
  const epochs = model.get("epochs"), losses = epochs.map(({ loss }) => loss);
  const rates = epochs.map((epoch) => epoch.val_accuracy), whole = { min: 0, max: 100, label: "% of the search" };
  const curves = [
    [plot(plots, { title: "training loss", x: whole, y: { min: 0, max: Math.max(...losses) } }), losses],
    [plot(plots, { title: "validation accuracy, %", x: whole, y: { min: Math.min(...rates) - 1, max: 100 } }), rates],
  ];
  const say = speaker(root);
  let timer = null;

  function draw() {
    const now = frames[model.get("frame")];
    histogram.layer.replaceChildren();
    left.layer.replaceChildren();
    bars(histogram, now.counts, alpha);
    histogram.upright(alpha);
    svg("path", { d: `M${left.X(0)} ${left.Y(asked)}H${left.X(100)}`, class: "threshold" }, left.layer);
    left.line(frames.map(({ done, density }) => [100 * done, Math.max(density, least)]), "chosen");
    const at = { cx: left.X(100 * now.done), cy: left.Y(Math.max(now.density, least)), r: 5, class: "measured" };
    svg("circle", at, left.layer);
    for (const [curve, values] of curves) {
      curve.layer.replaceChildren();
      curve.line(epochs.map(({ done }, k) => [100 * done, values[k]]), "chosen");
      curve.upright(100 * now.done);
      const last = values[epochs.findLastIndex(({ done }) => done <= now.done + 1e-9)];
      curve.describe(last === undefined ? "before the end of the first epoch" : shown(last));
    }
    const words = `after ${percent(now.done)} of the search λ = ${scientific(Number(now.lam.toPrecision(2)))}, and ` +
      `the share of entries at or above α = ${alpha} is ${shown(now.density)}; asked for was ${shown(asked)}`;
    histogram.describe(`${now.counts[0]} exactly 0, ${now.counts.at(-1)} exactly 1`);
    left.describe(words);
    say(`${words[0].toUpperCase()}${words.slice(1)}.`, timer === null);
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  const go = (to) => { model.set("frame", to); model.save_changes(); };
  play.onclick = () => {
    if (timer !== null) { stop(); draw(); return; }
    if (calm()) { go(frames.length - 1); return; } // a reader who wants no motion sees the end
    if (model.get("frame") === frames.length - 1) go(0);
    play.textContent = "Pause";
    timer = setInterval(() => {
      if (model.get("frame") >= frames.length - 1) { stop(); draw(); } else go(model.get("frame") + 1);
    }, PAUSE);
  };
  const taken = () => { if (timer !== null) { stop(); draw(); } };
  for (const kind of ["pointerdown", "input"]) time.addEventListener(kind, taken); // who takes the slider has it
  model.on("change:frame", draw);
  draw();
  return stop; // when the view is removed
}

export default { render };
