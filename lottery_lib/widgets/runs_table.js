// All runs in a table: a click on a column's head sorts, words in the field filter.
import { frame, html, speaker } from "./common.js";

const PAGE = 50; // rows shown at first, and more at each click
const ACCURACY = 3; // the column whose numbers have two decimals each

function render({ model, el }) {
  const root = frame(el, "All runs on record");
  const columns = model.get("columns"), rows = model.get("rows");
  const texts = rows.map((row) => row.join(" ").toLowerCase());
  const bar = html("label", { className: "filter", textContent: "filter " }, root);
  const field = html("input", { type: "search", placeholder: "imp 0.05 lenet" }, bar);
  const box = html("div", { className: "scroll", tabIndex: 0 }, root);
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", "the runs, which scroll sideways");
  const table = html("table", { className: "runs" }, box);
  const head = html("tr", {}, html("thead", {}, table)), body = html("tbody", {}, table);
  const more = html("button", { type: "button", textContent: "More rows" }, root), say = speaker(root);
  let sorted = null, falling = false, limit = PAGE;

  const heads = columns.map((label, k) => {
    const cell = html("th", { scope: "col" }, head);
    html("button", { type: "button", textContent: label, onclick: () => {
      falling = sorted === k && !falling;
      sorted = k;
      draw();
    } }, cell);
    return cell;
  });

  function draw() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((_, k) => words.every((word) => texts[k].includes(word)));
    const less = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
    if (sorted !== null) found.sort((a, b) => (falling ? -1 : 1) * less(a[sorted], b[sorted]));
    heads.forEach((cell, k) => cell.setAttribute("aria-sort", k !== sorted ? "none" : falling ? "descending" : "ascending"));
    body.replaceChildren(...found.slice(0, limit).map((row) => {
      const line = html("tr");
      row.forEach((value, k) => {
        const cell = html(k ? "td" : "th", k ? {} : { scope: "row" }, line);
        if (k === row.length - 1) html("code", { textContent: value }, cell);
        else cell.textContent = k === ACCURACY ? value.toFixed(2) : value;
      });
      return line;
    }));
    more.hidden = found.length <= limit;
    say(found.length ? `${found.length} of ${rows.length} runs, ${Math.min(limit, found.length)} of them shown.`
      : "No run has all of these words.");
  }

  field.addEventListener("input", () => { limit = PAGE; draw(); });
  more.onclick = () => { limit += 4 * PAGE; draw(); };
  draw();
}

export default { render };
