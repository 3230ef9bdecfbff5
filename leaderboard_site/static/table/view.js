// What a script adds to a ranked table that is already whole. These files share one scope; this one
// finds the table and reads its cells. Values come from data attributes, so what is sorted and saved
// is the number itself, not its rounding.

const board = document.querySelector("[data-board]");
const table = board.querySelector("table.ranking");
const bodies = [...table.tBodies];
const models = table.querySelector("tbody.models") ?? bodies[0];
const headers = [...table.tHead.rows[0].cells];
const defaultOrder = new Map(bodies.flatMap((body) => dataRows(body).map((row, index) => [row, index])));

function dataRows(body) {
  return [...body.rows].filter((row) => row.dataset.model);
}

function allRows() {
  return bodies.flatMap(dataRows);
}

function field(name) {
  return board.querySelector(`[name="${name}"]`);
}

function columnIndex(name) {
  return headers.findIndex((header) => header.dataset.column === name);
}

// A cell's number is in its attribute; a fact is its own text.
function valueOf(cell) {
  if (cell.dataset.value !== undefined) return cell.dataset.value;
  return cell.matches(".facts:not(.empty)") ? cell.textContent.trim() : "";
}

function update() {
  weighRows();
  sortRows();
  filterRows();
  showColumns();
  showSelection();
  writeState();
}
