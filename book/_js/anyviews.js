// Draws the anywidgets of a static page from the state that myst-nb stored in it: no kernel, no require.js, no
// html-manager. A view of any other widget becomes a sentence, for it could not answer.
(async () => {
  const stored = (kind) =>
    [...document.querySelectorAll(`script[type="application/vnd.jupyter.widget-${kind}+json"]`)]
      .map((node) => ({ node, data: JSON.parse(node.textContent) }));

  const states = Object.assign({}, ...stored("state").map(({ data }) => data.state));
  const models = new Map();                       // one a model, however many views it has
  const once = new Map();                         // style sheets added and modules imported, by their text

  /** The part of Backbone's model that an anywidget may use. Nobody hears what it sends. */
  class Model {
    #values;
    #listeners = new Map();
    widget_manager = { get_model: async (id) => model(id) };

    constructor({ state, buffers = [] }) {
      this.#values = structuredClone(state);
      for (const { path, data } of buffers) {     // bytes, cut out of the state and stored as base64
        const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
        const holder = path.slice(0, -1).reduce((value, key) => value[key], this.#values);
        holder[path.at(-1)] = new DataView(bytes.buffer);
      }
    }
    get(name) { return this.#values[name]; }
    set(name, value) {
      const given = Object.entries(typeof name === "string" ? { [name]: value } : name);
      const changed = given.filter(([key, value]) => this.#values[key] !== value);
      for (const [key, value] of changed) this.#values[key] = value;
      for (const [key, value] of changed) this.#fire(`change:${key}`, this, value);
      if (changed.length) this.#fire("change", this);
    }
    on(names, listener) {
      for (const name of names.split(" ")) this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
    }
    off(names, listener) {
      for (const name of names?.split(" ") ?? [...this.#listeners.keys()])
        this.#listeners.set(name, (this.#listeners.get(name) ?? []).filter((other) => listener && other !== listener));
    }
    save_changes() {}
    send() {}
    #fire(name, ...what) { for (const listener of this.#listeners.get(name) ?? []) listener(...what); }
  }

  function model(id) {
    if (!models.has(id)) models.set(id, new Model(states[id]));
    return models.get(id);
  }

  function remember(text, make) {
    if (!once.has(text)) once.set(text, make());
    return once.get(text);
  }

  async function show(id, el) {
    const shown = model(id), css = shown.get("_css"), code = shown.get("_esm");
    const style = () => document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
    const load = () => import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    if (css) remember(css, style);
    const loaded = await remember(code, load);
    const widget = typeof loaded.default === "function" ? await loaded.default() : loaded.default;
    await remember(shown, () => widget.initialize?.({ model: shown }));
    await widget.render({ model: shown, el });
  }

  for (const { node, data: { model_id: id } } of stored("view")) {
    const el = document.createElement("div");
    node.before(el);
    if (states[id]?.model_module !== "anywidget") {
      el.textContent = "This control needs a running Python kernel: open the page as a notebook to use it.";
      continue;
    }
    try {
      await show(id, el);
    } catch (error) {
      el.textContent = `This interactive figure failed to start: ${error}`;
      console.error(error);
    }
  }
})();
