
prepareHeaders();
for (const part of board.querySelectorAll(".scripted")) part.hidden = false;
readState();
update();
field("q").addEventListener("input", update);
for (const input of [...filters, ...columnBoxes, field("controls"), field("only"), ...picks.values()]) {
  input?.addEventListener("change", update);
}
for (const input of weights) input.addEventListener("input", update);
field("preset")?.addEventListener("change", applyPreset);
board.addEventListener("click", (event) => {
  const action = event.target.closest?.("[data-action]")?.dataset.action;
  if (action === "csv") saveCsv();
  if (action === "weights") {
    resetWeights();
    update();
  }
  if (action === "reset") {
    history.replaceState(null, "", location.pathname);
    readState();
    update();
  }
});
addEventListener("popstate", () => {
  readState();
  update();
});
document.addEventListener("click", (event) => {
  for (const menu of board.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of board.querySelectorAll(".menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
