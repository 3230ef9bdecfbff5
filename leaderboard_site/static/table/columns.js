
// Presets of columns. Which columns show is decided by the check boxes and the style sheet.

const columnBoxes = [...board.querySelectorAll('input[name="columns"]')];

function shownColumns() {
  return columnBoxes.filter((box) => box.checked).map((box) => box.value);
}

function showColumns() {
  const preset = field("preset");
  if (!preset) return;
  const shown = shownColumns().join(" ");
  preset.value = [...preset.options].find((option) => option.dataset.columns === shown)?.value ?? "";
}

function applyPreset() {
  const wanted = field("preset").selectedOptions[0].dataset.columns;
  if (wanted === undefined) return;
  for (const box of columnBoxes) box.checked = wanted.split(" ").includes(box.value);
  update();
}
