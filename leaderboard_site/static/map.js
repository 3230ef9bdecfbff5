// Names the pair under the pointer in a heat map, and marks its row and column.
"use strict";
(() => {
  for (const table of document.querySelectorAll("table.heat")) {
    const columns = [...table.tHead.rows[0].cells].filter((cell) => cell.tagName === "TH");
    const rows = [...table.tBodies[0].rows];
    let marked = [];
    table.addEventListener("pointerover", (event) => {
      const cell = event.target.closest("tbody td[class^='s']");
      for (const other of marked) other.classList.remove("marked");
      marked = [];
      if (!cell) return;
      const row = cell.parentElement;
      const name = row.querySelector("th");
      const column = columns[[...row.cells].indexOf(cell) - [...row.cells].indexOf(name) - 1];
      marked = [name, column];
      for (const other of marked) other.classList.add("marked");
      cell.title = `${name.textContent.trim()} ${table.dataset.arrow} ${column.textContent.trim()}: ${cell.textContent}`;
    });
    table.addEventListener("pointerleave", () => {
      for (const cell of rows.flatMap((row) => [...row.querySelectorAll(".marked")]).concat(columns)) cell.classList.remove("marked");
    });
  }
})();
