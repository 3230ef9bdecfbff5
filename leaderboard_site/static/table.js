// What a script adds to a ranked table that is already whole: numeric sort, search, filters, the
// view's state in the address, and the view as CSV. Values come from data attributes, so what is
// sorted and saved is the number itself, not its rounding.

const board = document.querySelector("[data-board]");
const table = board.querySelector("table.ranking");
const models = table.tBodies[0];
const bodies = [...table.tBodies];
const headers = [...table.tHead.rows[0].cells];
const defaultOrder = new Map(bodies.flatMap((body) => dataRows(body).map((row, index) => [row, index])));
let sorting = { column: "", order: "" };

function dataRows(body) {
  return [...body.rows].filter((row) => row.dataset.model);
}

function field(name) {
  return board.querySelector(`[name="${name}"]`);
}

const filters = [...board.querySelectorAll("[data-filter]")];
const columnBoxes = [...board.querySelectorAll('input[name="columns"]')];

// Sorting ---------------------------------------------------------------------------------------

// A cell's number is in its attribute; a fact is its own text.
function valueOf(cell) {
  if (cell.dataset.value !== undefined) return cell.dataset.value;
  return cell.matches(".facts:not(.empty)") ? cell.textContent.trim() : "";
}

function sortKey(row, index) {
  const value = valueOf(row.cells[index]);
  if (value === "") return null;
  const number = Number(value);
  return Number.isNaN(number) ? value.toLowerCase() : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortRows() {
  const index = headers.findIndex((header) => header.dataset.column === sorting.column);
  const sign = sorting.order === "descending" ? -1 : 1;
  for (const body of bodies) {
    const keyed = dataRows(body).map((row) => ({ row, key: index < 0 ? null : sortKey(row, index) }));
    keyed.sort((a, b) => {
      const missing = (a.key === null) - (b.key === null); // rows without a value stay last
      const order = a.key === null || b.key === null ? 0 : sign * compare(a.key, b.key);
      return missing || order || defaultOrder.get(a.row) - defaultOrder.get(b.row);
    });
    body.append(...keyed.map(({ row }) => row));
  }
  for (const header of headers) {
    if (header.dataset.column === sorting.column) header.setAttribute("aria-sort", sorting.order);
    else header.removeAttribute("aria-sort");
  }
  const choice = field("sort");
  choice.value = sorting.column ? `${sorting.column}:${sorting.order}` : "";
}

function toggleSort(header) {
  const { column, order = "ascending" } = header.dataset;
  const other = order === "ascending" ? "descending" : "ascending";
  if (sorting.column !== column) sorting = { column, order };
  else if (sorting.order === order) sorting = { column, order: other };
  else sorting = { column: "", order: "" };
  update();
}

function prepareHeaders() {
  const choice = field("sort");
  choice.add(new Option("as ranked", ""));
  for (const header of headers.filter((cell) => cell.dataset.column)) {
    const label = header.querySelector(".name") ?? header;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...label.childNodes);
    label.append(button);
    button.addEventListener("click", () => toggleSort(header));
    const { column, order = "ascending" } = header.dataset;
    choice.add(new Option(button.textContent.trim(), `${column}:${order}`));
    if (column !== "rank") {
      const other = order === "ascending" ? "descending" : "ascending";
      choice.add(new Option(`${button.textContent.trim()}, reversed`, `${column}:${other}`));
    }
  }
  choice.addEventListener("change", () => {
    const [column, order] = choice.value.split(":");
    sorting = column ? { column, order } : { column: "", order: "" };
    update();
  });
}

// Search and filters ----------------------------------------------------------------------------

function passes(row, filter) {
  if (!filter.value) return true;
  const value = row.dataset[filter.name] ?? "";
  if (filter.name !== "size") return value.split(";").includes(filter.value);
  const [low, high] = filter.value.split("-").map(Number);
  return value !== "" && Number(value) >= low && Number(value) < high;
}

function filterRows() {
  const words = field("q").value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const body of bodies) {
    for (const row of dataRows(body)) {
      const facts = [...row.querySelectorAll(".c-model, .facts")].map((cell) => cell.textContent);
      const text = [row.dataset.model, ...facts].join(" ").toLowerCase();
      const found = words.every((word) => text.includes(word));
      // Filters choose models; the controls are what any choice of models is read against.
      row.hidden = !(found && (body !== models || filters.every((filter) => passes(row, filter))));
      shown += !row.hidden && body === models;
    }
    const divider = body.querySelector(".divider");
    if (divider) divider.hidden = dataRows(body).every((row) => row.hidden);
  }
  board.querySelector("output").value = `${shown} of ${dataRows(models).length} models`;
}

// State in the address --------------------------------------------------------------------------

function writeState() {
  const state = new URLSearchParams();
  if (field("q").value) state.set("q", field("q").value);
  if (sorting.column) state.set("sort", `${sorting.column}:${sorting.order}`);
  for (const filter of filters) if (filter.value) state.set(filter.name, filter.value);
  const changed = (box) => box.checked !== box.defaultChecked;
  const show = columnBoxes.filter((box) => changed(box) && box.checked).map((box) => box.value);
  const hide = columnBoxes.filter((box) => changed(box) && !box.checked).map((box) => box.value);
  if (show.length) state.set("show", show.join(","));
  if (hide.length) state.set("hide", hide.join(","));
  if (!field("controls").checked) state.set("controls", "0");
  const query = state.toString();
  history.replaceState(null, "", `${location.pathname}${query ? `?${query}` : ""}${location.hash}`);
}

function readState() {
  const state = new URLSearchParams(location.search);
  field("q").value = state.get("q") ?? "";
  for (const filter of filters) {
    const wanted = state.get(filter.name) ?? "";
    filter.value = [...filter.options].some((option) => option.value === wanted) ? wanted : "";
  }
  const listed = (name) => (state.get(name) ?? "").split(",");
  for (const box of columnBoxes) {
    box.checked = listed("show").includes(box.value) || (box.defaultChecked && !listed("hide").includes(box.value));
  }
  field("controls").checked = state.get("controls") !== "0";
  const [column, order] = (state.get("sort") ?? "").split(":");
  const known = headers.some((header) => header.dataset.column === column);
  sorting = known && ["ascending", "descending"].includes(order) ? { column, order } : { column: "", order: "" };
}

function update() {
  sortRows();
  filterRows();
  writeState();
}

// CSV of the view -------------------------------------------------------------------------------

function csvCell(value) {
  // A spreadsheet runs a cell that starts like a formula; a title may come from anyone.
  const text = Number.isNaN(Number(value)) && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function viewAsCsv() {
  const visible = (cell) => getComputedStyle(cell).display !== "none";
  const lines = [];
  const rows = bodies.filter(visible).flatMap(dataRows).filter((row) => !row.hidden);
  const columns = headers
    .map((header, index) => ({ name: header.dataset.column, index }))
    .filter(({ name, index }) => name && visible(headers[index]));
  const ranged = new Set(columns.filter(({ index }) => table.querySelector(`tbody tr[data-model] > :nth-child(${index + 1})[data-low]`)));
  lines.push(["id", ...columns.flatMap((column) => (ranged.has(column) ? [column.name, `${column.name}_low`, `${column.name}_high`] : [column.name]))]);
  for (const row of rows) {
    const cells = columns.flatMap((column) => {
      const cell = row.cells[column.index];
      const { low = "", high = "" } = cell.dataset;
      return ranged.has(column) ? [valueOf(cell), low, high] : [valueOf(cell)];
    });
    lines.push([row.dataset.model, ...cells]);
  }
  return lines.map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n";
}

function saveCsv() {
  const address = URL.createObjectURL(new Blob([viewAsCsv()], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${board.dataset.board.replace("@", "-")}-view.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// Start -----------------------------------------------------------------------------------------

prepareHeaders();
for (const part of board.querySelectorAll(".scripted")) part.hidden = false;
readState();
update();
field("q").addEventListener("input", update);
for (const input of [...filters, ...columnBoxes, field("controls")]) input.addEventListener("change", update);
board.querySelector('[data-action="csv"]').addEventListener("click", saveCsv);
board.querySelector('[data-action="reset"]').addEventListener("click", () => {
  history.replaceState(null, "", location.pathname);
  readState();
  update();
});
addEventListener("popstate", () => {
  readState();
  update();
});
document.addEventListener("click", (event) => {
  for (const menu of board.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
