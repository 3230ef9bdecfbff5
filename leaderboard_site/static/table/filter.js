
// Search and filters choose models; the controls are what any choice of models is read against.

const filters = [...board.querySelectorAll("[data-filter]")];
const facts = new Map(allRows().map((row) => [row, readFacts(row)]));

function readFacts(row) {
  const cells = [...row.querySelectorAll(".c-model, .facts")];
  const known = { text: [row.dataset.model, ...cells.map((cell) => cell.textContent)].join(" ").toLowerCase() };
  for (const { name } of filters) {
    const cell = row.querySelector(`.c-${name === "size" ? "parameters" : name}`);
    if (name === "training") known[name] = (row.dataset.training ?? "").split(";");
    else known[name] = cell ? [valueOf(cell)] : [];
  }
  return known;
}

function passes(row, filter, wanted = filter.value) {
  if (!wanted) return true;
  const values = facts.get(row)[filter.name];
  if (filter.name !== "size") return values.includes(wanted);
  const [low, high] = wanted.split("-").map(Number);
  return values[0] !== "" && Number(values[0]) >= low && Number(values[0]) < high;
}

function isFound(row) {
  const words = field("q").value.toLowerCase().split(/\s+/).filter(Boolean);
  return words.every((word) => facts.get(row).text.includes(word));
}

function filterRows() {
  const alone = onlySelected();
  let shown = 0;
  for (const body of bodies) {
    for (const row of dataRows(body)) {
      const chosen = body !== models || filters.every((filter) => passes(row, filter));
      row.hidden = alone ? !isSelected(row) : !(isFound(row) && chosen);
      shown += !row.hidden && body === models;
    }
    const divider = body.querySelector(".divider");
    if (divider) divider.hidden = dataRows(body).every((row) => row.hidden);
  }
  board.querySelector("output.count").value = `${shown} of ${dataRows(models).length} models`;
  countOptions();
}

// How many models each option would leave, given the search and the other filters.
function countOptions() {
  const found = dataRows(models).filter(isFound);
  for (const filter of filters) {
    const others = filters.filter((other) => other !== filter);
    const left = found.filter((row) => others.every((other) => passes(row, other)));
    for (const option of filter.options) {
      if (!option.value) continue;
      const count = left.filter((row) => passes(row, filter, option.value)).length;
      option.textContent = `${option.dataset.label} (${count})`;
      option.disabled = count === 0 && option.value !== filter.value;
    }
  }
  const active = filters.filter((filter) => filter.value).length;
  const mark = board.querySelector("[data-active]");
  if (mark) mark.textContent = active ? String(active) : "";
}
