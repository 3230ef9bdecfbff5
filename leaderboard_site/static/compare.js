// Two to four models side by side. Everything is made from the data in the page, as text.
"use strict";
(() => {
  const source = document.getElementById("comparison-data");
  const target = document.getElementById("comparison");
  const form = document.querySelector(".chooser");
  if (!source || !target || !form) return;
  const data = JSON.parse(source.textContent);
  const slots = [...form.querySelectorAll('[name="model"]')];
  const FACTS = [
    ["family", "Family"], ["parameters", "Parameters"], ["training_data", "Training data"], ["overlaps", "Overlaps"],
    ["fine_tuned_from", "Fine-tuned from"], ["symmetry", "Symmetry"], ["modality", "Input"],
    ["licence_weights", "Licence of weights"], ["released", "Released"],
  ];

  function element(tag, options = {}, ...children) {
    const { className, ...attributes } = options;
    const made = document.createElement(tag);
    if (className) made.className = className;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function number(value) {
    if (value === null || value === undefined) return "–";
    const text = Math.abs(value) >= 1000 ? value.toExponential(1).replace("e+", "e") : value.toFixed(3);
    return (Number(text) === 0 ? text.replace("-", "") : text).replaceAll("-", "−");
  }

  function range([low, high]) {
    return low === high ? String(low) : `${low}–${high}`;
  }

  function chosen() {
    return slots.map((slot) => slot.value).filter(Boolean).map((id) => data.models.findIndex((model) => model.id === id));
  }

  function table(caption, head, rows) {
    const body = element("tbody", {}, ...rows);
    const line = element("tr", {}, ...head.map((cell) => element("th", { scope: "col" }, cell)));
    const made = element("table", { className: "plain side-by-side" }, element("thead", {}, line), body);
    return element("div", { className: "scroll", tabindex: "0", role: "region", "aria-label": caption }, made);
  }

  function modelLink(index) {
    const model = data.models[index];
    return element("a", { href: `${form.dataset.root}models/${encodeURIComponent(model.id)}.html` }, model.title);
  }

  function score(value, low, high, axis) {
    const cell = element("td", {}, element("b", {}, number(value)));
    if (low !== null && low !== undefined) {
      cell.append(" ", element("span", { className: "ci" }, `${number(low)} – ${number(high)}`));
    }
    if (axis) {
      const share = (x) => `${(100 * Math.min(Math.max((x - axis[0]) / (axis[1] - axis[0]), 0), 1)).toFixed(1)}%`;
      const bar = element("span", { className: "mini", "aria-hidden": "true" });
      if (low !== null && low !== undefined) {
        const between = element("i", { className: "between" });
        between.style.left = share(low);
        between.style.right = `calc(100% - ${share(high)})`;
        bar.append(between);
      }
      const dot = element("i", { className: "dot" });
      dot.style.left = share(value);
      bar.append(dot);
      cell.append(bar);
    }
    return cell;
  }

  // The best of a row is bold only where a direction is better and the value stands alone.
  function markBest(cells, values, better) {
    const known = values.filter((value) => value !== null);
    if (better === null || better === undefined || known.length < 2) return;
    const best = better ? Math.max(...known) : Math.min(...known);
    if (known.filter((value) => value === best).length > 1) return;
    cells[values.indexOf(best)].classList.add("best");
  }

  function axisOf(values) {
    const known = values.flat().filter((value) => typeof value === "number");
    if (!known.length) return null;
    const [low, high] = [Math.min(0, ...known), Math.max(...known)];
    return high > low ? [low, high] : null;
  }

  function headlines(indices) {
    const first = element("tr", {}, element("th", { scope: "row" }, "Overall rank"));
    for (const index of indices) {
      const { rank } = data.models[index];
      first.append(element("td", {}, rank ? range(rank) : "unranked"));
    }
    const rows = data.headlines.map((headline) => {
      const found = indices.map((index) => headline.cells[index]);
      const axis = axisOf(found.map((cell) => [cell.value, cell.low, cell.high]));
      const cells = found.map((cell) => {
        if (cell.value === undefined) {
          return element("td", {}, element("span", { className: "missing" }, "– ", element("small", {}, cell.reason)));
        }
        const made = score(cell.value, cell.low, cell.high, axis);
        if (cell.of) made.append(element("small", {}, `rank ${range(cell.rank)} of ${cell.of}`));
        if (cell.beaten_by.length) made.append(" ", element("small", {}, `beaten by ${cell.beaten_by.join(", ")}`));
        return made;
      });
      markBest(cells, found.map((cell) => cell.value ?? null), headline.better);
      const link = element("a", { href: `${headline.page}.html` }, headline.title);
      return element("tr", {}, element("th", { scope: "row" }, link, headline.better ? " ↑" : " ↓"), ...cells);
    });
    return table("Headline scores side by side", ["Score", ...indices.map(modelLink)], [first, ...rows]);
  }

  function facts(indices) {
    const rows = FACTS.map(([name, title]) => {
      const cells = indices.map((index) => {
        const value = data.models[index][name];
        const text = Array.isArray(value) ? value.join(", ") : typeof value === "number" ? value.toLocaleString("en") : value;
        return element("td", {}, text || "–");
      });
      return element("tr", {}, element("th", { scope: "row" }, title), ...cells);
    });
    return table("Facts side by side", ["Fact", ...indices.map(modelLink)], rows);
  }

  // A row a pair, a column a metric and data set; a directed metric has both ways in its cell.
  function alike(indices) {
    const pairs = indices.flatMap((a, i) => indices.slice(i + 1).map((b) => [a, b]));
    const columns = data.pairs.filter(({ values }) => pairs.some(([a, b]) => values[a][b] !== null));
    if (!columns.length) return null;
    const rows = pairs.map(([a, b]) => {
      const cells = columns.map(({ values }) => {
        const [forth, back] = [values[a][b], values[b][a]];
        return element("td", {}, forth === back ? number(forth) : `→ ${number(forth)}, ← ${number(back)}`);
      });
      const names = `${data.models[a].title} – ${data.models[b].title}`;
      return element("tr", {}, element("th", { scope: "row" }, names), ...cells);
    });
    const heads = columns.map(({ title, dataset }) => element("span", {}, title, element("small", {}, dataset)));
    return table("How alike they are", ["Pair", ...heads], rows);
  }

  function apart(found) {
    const known = found.filter((cell) => cell && cell[1] !== null);
    return known.some((a) => known.some((b) => a[1] > b[2]));
  }

  function scores(indices) {
    const words = form.elements.find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [];
    for (const column of data.scores) {
      const found = indices.map((index) => column.cells[index]);
      const where = [column.dataset, column.target, column.layer === "backbone" ? "" : column.layer, column.k ? `k = ${column.k}` : ""];
      const text = [column.title, column.id, ...where].join(" ").toLowerCase();
      if (found.every((cell) => !cell) || !words.every((word) => text.includes(word))) continue;
      if (form.elements.differing.checked && !apart(found)) continue;
      const axis = axisOf(found);
      const cells = found.map((cell) => (cell ? score(...cell, axis) : element("td", { className: "missing" }, "–")));
      markBest(cells, found.map((cell) => cell?.[0] ?? null), column.better);
      const arrow = column.better === true ? " ↑" : column.better === false ? " ↓" : "";
      const link = element("a", { href: `${form.dataset.root}methods.html#${encodeURIComponent(column.id)}` }, column.title);
      const name = element("th", { scope: "row" }, link, arrow, element("small", {}, where.filter(Boolean).join(", ")));
      rows.push(element("tr", {}, name, ...cells));
    }
    if (!rows.length) return element("p", { className: "muted" }, "No score fits.");
    return table("All scores side by side", ["Score", ...indices.map(modelLink)], rows);
  }

  function show() {
    const indices = chosen();
    target.replaceChildren(headlines(indices));
    const parts = [["How alike they are", alike(indices)], ["What they are", facts(indices)], ["All scores", scores(indices)]];
    for (const [title, part] of parts) if (part) target.append(element("h2", {}, title), part);
    const state = new URLSearchParams({ models: indices.map((index) => data.models[index].id).join(",") });
    history.replaceState(null, "", `${location.pathname}?${state.toString().replaceAll("%2C", ",")}${location.hash}`);
  }

  function readState() {
    const given = (new URLSearchParams(location.search).get("models") ?? "").split(",");
    const known = [...new Set(given)].filter((id) => data.models.some((model) => model.id === id)).slice(0, slots.length);
    const first = data.models.filter((model) => !model.control).slice(0, 3).map((model) => model.id);
    const wanted = known.length ? known : first;
    slots.forEach((slot, index) => { slot.value = wanted[index] ?? ""; });
  }

  for (const slot of slots) {
    slot.add(new Option("none", ""));
    for (const model of data.models) slot.add(new Option(model.control ? `${model.title} (control)` : model.title, model.id));
    slot.addEventListener("change", () => {
      for (const other of slots) if (other !== slot && other.value === slot.value) other.value = "";
      if (!chosen().length) readState();
      show();
    });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.elements.differing.addEventListener("change", show);
  form.elements.find.addEventListener("input", show);
  form.hidden = false;
  for (const note of document.querySelectorAll(".unscripted")) note.hidden = true;
  readState();
  show();
})();
