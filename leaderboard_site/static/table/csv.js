
// The rows and columns now shown, as CSV.

function csvCell(value) {
  // A spreadsheet runs a cell that starts like a formula; a title may come from anyone.
  const text = Number.isNaN(Number(value)) && /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// What a column adds beside its value: name of the added column, and how to read it from a cell.
const EXTRAS = [
  ["low", (cell) => cell.dataset.low],
  ["high", (cell) => cell.dataset.high],
  ["rank_low", (cell) => cell.dataset.rank?.split("-")[0]],
  ["rank_high", (cell) => cell.dataset.rank?.split("-")[1]],
  ["reason", (cell) => cell.querySelector(".missing small")?.textContent],
];

function viewAsCsv() {
  const visible = (cell) => getComputedStyle(cell).display !== "none";
  const rows = bodies.filter(visible).flatMap(dataRows).filter((row) => !row.hidden);
  const columns = [];
  headers.forEach((header, index) => {
    const name = header.dataset.column;
    if (!name || !visible(header)) return;
    columns.push([name === "rank" ? "rank_low" : name, (row) => valueOf(row.cells[index])]);
    for (const [extra, read] of EXTRAS) {
      const title = name === "rank" ? `rank_${extra}` : `${name}_${extra}`;
      if (rows.some((row) => read(row.cells[index]) !== undefined)) columns.push([title, (row) => read(row.cells[index]) ?? ""]);
    }
  });
  const lines = [["id", ...columns.map(([name]) => name)]];
  for (const row of rows) lines.push([row.dataset.model, ...columns.map(([, read]) => read(row))]);
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
