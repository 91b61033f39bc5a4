// What the interactive figures share. All modules of a widget are joined into one (see base.py), so that their
// top-level names must differ.

export function html(tag, properties = {}, parent = null) {
  const node = Object.assign(document.createElement(tag), properties);
  if (tag === "input") node.setAttribute("data-lm-suppress-shortcuts", "true"); // JupyterLab leaves it its arrow keys
  parent?.append(node);
  return node;
}

export function svg(tag, attributes = {}, parent = null) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent?.append(node);
  return node;
}

/** A number as people write it: three digits, no trailing zeros. */
export const shown = (value) => String(Number(value.toPrecision(3)));

/** The same as digits and a power of ten: 5.8·10⁻⁵. */
export function scientific(value) {
  const [digits, exponent] = value.toExponential().split("e");
  const raised = [...exponent].map((sign) => ({ "+": "", "-": "⁻" })[sign] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign]).join("");
  return `${digits === "1" ? "" : `${digits}·`}10${raised}`;
}

/** The view's root: a named group in the book's colours. */
export function frame(el, label) {
  const root = html("div", { className: "lottery" }, el);
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", label);
  return root;
}

/** A slider on the trait `name` from `min` to `max` in `steps` steps, evenly spaced on a log scale if `log`. */
export function slider(parent, model, name, { label, min, max, steps = 60, log = false, format = shown }) {
  const line = html("label", { className: "slider" }, parent);
  html("span", { textContent: label }, line);
  const input = html("input", { type: "range", min: 0, max: steps, step: 1, name }, line);
  const output = html("output", { ariaHidden: "true", ariaLive: "off" }, line); // spoken as the slider's value
  const at = (step) => (log ? min * (max / min) ** (step / steps) : (min * (steps - step) + max * step) / steps);
  const step = (value) => steps * (log ? Math.log(value / min) / Math.log(max / min) : (value - min) / (max - min));
  const show = () => {
    const value = model.get(name);
    input.value = Math.round(step(value));
    output.textContent = format(value);
    input.setAttribute("aria-valuetext", format(value));
  };
  input.addEventListener("input", () => {
    model.set(name, Number(at(Number(input.value)).toPrecision(3))); // the number that is shown is the one that counts
    model.save_changes();
  });
  model.on(`change:${name}`, show);
  show();
  return line;
}

const BESIDE = 5; // options that stand beside each other; more are a list to open

/** Radio buttons on the trait `name`, or a list if there are many; `options` maps its values to their labels. */
export function choice(parent, model, name, { label, options }) {
  if (Object.keys(options).length > BESIDE) return list(parent, model, name, { label, options });
  const set = html("fieldset", { className: "choice" }, parent);
  html("legend", { textContent: label }, set);
  const group = `${name}-${Math.random()}`; // another view of the same model is another group
  const inputs = Object.entries(options).map(([value, text]) => {
    const line = html("label", {}, set);
    const input = html("input", { type: "radio", name: group, value }, line);
    html("span", { textContent: text }, line);
    input.addEventListener("change", () => {
      model.set(name, value);
      model.save_changes();
    });
    return input;
  });
  const show = () => inputs.forEach((input) => { input.checked = input.value === model.get(name); });
  model.on(`change:${name}`, show);
  show();
  return set;
}

function list(parent, model, name, { label, options }) {
  const line = html("label", { className: "choice" }, parent);
  html("span", { textContent: label }, line);
  const select = html("select", { name }, line);
  for (const [value, text] of Object.entries(options)) html("option", { value, textContent: text }, select);
  const show = () => { select.value = model.get(name); };
  select.addEventListener("change", () => {
    model.set(name, select.value);
    model.save_changes();
  });
  model.on(`change:${name}`, show);
  show();
  return line;
}

/**
 * A line that is seen at once and read aloud at most once every `pause` milliseconds, and always the last;
 * `say(text, false)` is only seen.
 */
export function speaker(parent, pause = 1000) {
  const seen = html("p", { className: "status", ariaHidden: "true" }, parent);
  const spoken = html("p", { className: "spoken" }, parent);
  spoken.setAttribute("role", "status");
  let waiting = null, next = 0, text = "";
  return (said, aloud = true) => {
    seen.textContent = said;
    if (!aloud) return;
    text = said;
    waiting ??= setTimeout(() => {
      waiting = null;
      next = Date.now() + pause;
      spoken.textContent = text;
    }, Math.max(0, next - Date.now()));
  };
}

/**
 * Words of the page that set the widget: `<span data-NAME="lam=0.01; penalty=l1">λ at 0.01</span>` becomes a button that
 * does so, on top of the settings `first`, calls `then`, and brings `el` into view. Without scripts they stay words.
 */
export function linkWords(model, name, el, first = {}, then = () => {}) {
  for (const words of document.querySelectorAll(`span[data-${name}]`)) {
    const settings = words.dataset[name].split(";").map((part) => part.split("=").map((side) => side.trim()));
    const traits = Object.fromEntries(settings.map(([key, value]) => [key, isNaN(value) ? value : Number(value)]));
    const button = html("button", { type: "button", className: "sets" });
    button.append(...words.childNodes);
    words.append(button);
    button.addEventListener("click", () => {
      model.set({ ...first, ...traits });
      model.save_changes();
      then();
      el.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
    });
  }
}

/** Calls `answered` if a kernel answers: in a static page there is none, and the JavaScript stays in charge. */
export function greet(model, answered) {
  model.on("msg:custom", (message) => message.kind === "live" && answered());
  try {
    model.send({ kind: "hello" });
  } catch { /* there is no kernel to send to */ }
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Calls `redraw` when the page turns light or dark, for what is not drawn by the style sheet. */
export function onTheme(redraw) {
  const observer = new MutationObserver(redraw);
  for (const node of [document.documentElement, document.body])
    observer.observe(node, { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

/** Round numbers between `min` and `max`: powers of ten on a log scale, else about `count` of them. */
export function ticks({ min, max, log = false }, count = 4) {
  if (min > max) return ticks({ min: max, max: min, log }, count); // an axis that falls to the right
  if (log) {
    const first = Math.ceil(Math.log10(min) - 1e-9), last = Math.floor(Math.log10(max) + 1e-9);
    const stride = Math.max(1, Math.ceil((last - first) / count));
    return Array.from({ length: Math.floor((last - first) / stride) + 1 }, (_, k) => 10 ** (first + k * stride));
  }
  const rough = (max - min) / count, power = 10 ** Math.floor(Math.log10(rough));
  const stride = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const first = Math.ceil(min / stride - 1e-9), last = Math.floor(max / stride + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, k) => (first + k) * stride);
}

/**
 * Axes in SVG. `x` and `y` are `{ min, max, log, label }`. Draw on `layer` at X(x), Y(y); `line(points, name)` adds a
 * curve of that class, `upright(x)` a threshold there, `rescale({ x, y })` draws other axes and clears the layer, `describe(text)` says what is seen.
 */
export function plot(parent, { title, x, y, width = 300, height = 200 }) {
  const left = 38, right = 8, top = 20, bottom = 34, floor = height - bottom;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "plot", role: "img" }, parent);
  root.setAttribute("aria-label", title);
  const axes = svg("g", { class: "axes" }, root), layer = svg("g", {}, root);
  const share = ({ min, max, log }, value) =>
    log ? Math.log(value / min) / Math.log(max / min) : (value - min) / (max - min);
  const short = (value) => (Math.abs(value) >= 1e5 || (value && Math.abs(value) < 1e-3) ? scientific : shown)(value);
  const self = {
    root, layer, top, floor,
    X: (value) => left + share(x, value) * (width - left - right),
    Y: (value) => height - bottom - share(y, value) * (height - top - bottom),
    line(points, name) {
      const path = points.map(([a, b]) => `${self.X(a).toFixed(2)},${self.Y(b).toFixed(2)}`).join(" ");
      return svg("polyline", { points: path, class: name }, layer);
    },
    upright: (at) => svg("path", { d: `M${self.X(at)} ${top}V${floor}`, class: "threshold" }, layer),
    describe: (text) => root.setAttribute("aria-label", `${title}: ${text}`),
    rescale(scales) {
      ({ x, y } = { x, y, ...scales });
      axes.replaceChildren();
      layer.replaceChildren();
      svg("path", { d: `M${left} ${top}V${floor}H${width - right}` }, axes);
      const text = (what, at) => { svg("text", at, axes).textContent = what; };
      for (const tick of ticks(x)) {
        svg("path", { d: `M${self.X(tick)} ${floor}v4` }, axes);
        text(short(tick), { x: self.X(tick), y: floor + 15, "text-anchor": "middle" });
      }
      for (const tick of ticks(y)) {
        svg("path", { d: `M${left} ${self.Y(tick)}h-4` }, axes);
        text(short(tick), { x: left - 7, y: self.Y(tick) + 4, "text-anchor": "end" });
      }
      text(title, { x: left, y: 11, class: "title" });
      text(x.label, { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" });
    },
  };
  self.rescale({});
  return self;
}

/** A mask's histogram on a `plot`: counts of entries at 0, in equal bins, and at 1; those above `alpha` are kept. */
export function bars(chart, counts, alpha) {
  const bins = counts.length - 2;
  const bar = (from, to, count, kept) => {
    const [x, y] = [chart.X(from), chart.Y(count)];
    const box = { x, y, width: chart.X(to) - x, height: chart.floor - y, class: kept ? "kept" : "pruned" };
    if (count) svg("rect", box, chart.layer);
  };
  bar(-0.04, -0.015, counts[0], false);
  counts.slice(1, -1).forEach((count, j) => bar(j / bins, (j + 1) / bins, count, (j + 0.5) / bins > alpha));
  bar(1.015, 1.04, counts.at(-1), true);
}

/**
 * A canvas as wide as its parent and sharp on every screen, redrawn when its size or the theme changes.
 * `draw(context, width, height, colour)` is called with CSS pixels; `colour("mark")` is what `--mark` looks like now.
 * `paint(what)` calls `what` the same way, to add to the drawing.
 */
export function canvas(parent, { label, height, draw }) {
  const node = html("canvas", { className: "drawing" }, parent);
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", label);
  node.style.height = `${height}px`;
  const probe = html("span", { hidden: true }, parent);
  const seen = new Map();
  const colour = (name) => {
    if (!seen.has(name)) {
      probe.style.color = `var(--${name})`;
      seen.set(name, getComputedStyle(probe).color);
    }
    return seen.get(name);
  };
  const context = node.getContext("2d");
  const paint = (what) => what(context, node.clientWidth, height, colour);
  const redraw = () => {
    const width = node.clientWidth, scale = devicePixelRatio || 1;
    if (!width) return;
    if (node.width !== Math.round(width * scale)) {
      node.width = Math.round(width * scale);
      node.height = Math.round(height * scale);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    paint(draw);
  };
  new ResizeObserver(redraw).observe(node);
  onTheme(() => { seen.clear(); redraw(); });
  return { node, redraw, paint };
}
