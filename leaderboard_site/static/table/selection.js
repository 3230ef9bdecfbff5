
// Rows that a reader has picked: shown alone, or taken to the page that compares them.

const picks = new Map(
  allRows()
    .map((row) => [row, row.querySelector('[name="pick"]')])
    .filter(([, box]) => box),
);
const [FEWEST, MOST] = [2, 4]; // models that the Compare page shows

function isSelected(row) {
  return picks.get(row)?.checked ?? false;
}

function selectedModels() {
  return [...picks].filter(([, box]) => box.checked).map(([row]) => row.dataset.model);
}

function onlySelected() {
  return (field("only")?.checked && selectedModels().length > 0) ?? false;
}

function showSelection() {
  const only = field("only");
  if (!only) return;
  const chosen = selectedModels();
  only.disabled = chosen.length === 0;
  if (!chosen.length) only.checked = false;
  board.querySelector("[data-selected]").textContent = chosen.length;
  for (const [row, box] of picks) row.classList.toggle("selected", box.checked);
  const link = board.querySelector("[data-compare]");
  const few = chosen.length >= FEWEST && chosen.length <= MOST;
  link.setAttribute("aria-disabled", String(!few));
  if (few) link.href = `${link.dataset.compare}?models=${chosen.map(encodeURIComponent).join(",")}`;
  else link.removeAttribute("href");
}
