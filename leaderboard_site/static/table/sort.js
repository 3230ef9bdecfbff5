
// Sorting: by the number, missing values last, ties in the order of the ranking.

let sorting = { column: "", order: "" };

function sortKey(row, index) {
  const value = valueOf(row.cells[index]);
  if (value === "") return null;
  const number = Number(value);
  return Number.isNaN(number) ? value.toLowerCase() : number;
}

function compareKeys(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function sortRows() {
  const index = columnIndex(sorting.column);
  const sign = sorting.order === "descending" ? -1 : 1;
  for (const body of bodies) {
    const keyed = dataRows(body).map((row) => ({ row, key: index < 0 ? null : sortKey(row, index) }));
    keyed.sort((a, b) => {
      const missing = (a.key === null) - (b.key === null);
      const order = a.key === null || b.key === null ? 0 : sign * compareKeys(a.key, b.key);
      return missing || order || byRank(a.row, b.row);
    });
    body.append(...keyed.map(({ row }) => row));
  }
  for (const header of headers) {
    if (header.dataset.column && header.dataset.column === sorting.column) header.setAttribute("aria-sort", sorting.order);
    else header.removeAttribute("aria-sort");
  }
  field("sort").value = sorting.column ? `${sorting.column}:${sorting.order}` : "";
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
