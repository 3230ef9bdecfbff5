
// The whole view is in the address: a link shows another reader the same table.

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
  if (isReweighted()) state.set("weights", weights.map((input) => input.value).join(","));
  const chosen = selectedModels();
  if (chosen.length) state.set("pick", chosen.join(","));
  if (onlySelected()) state.set("only", "1");
  const query = state.toString();
  history.replaceState(null, "", `${location.pathname}${query ? `?${query}` : ""}${location.hash}`);
}

function readState() {
  const state = new URLSearchParams(location.search);
  const listed = (name) => (state.get(name) ?? "").split(",").filter(Boolean);
  field("q").value = state.get("q") ?? "";
  for (const filter of filters) {
    const wanted = state.get(filter.name) ?? "";
    filter.value = [...filter.options].some((option) => option.value === wanted) ? wanted : "";
  }
  for (const box of columnBoxes) {
    box.checked = listed("show").includes(box.value) || (box.defaultChecked && !listed("hide").includes(box.value));
  }
  field("controls").checked = state.get("controls") !== "0";
  const given = listed("weights");
  weights.forEach((input, index) => {
    const wanted = Number(given[index]);
    const sensible = given.length === weights.length && wanted >= Number(input.min) && wanted <= Number(input.max);
    input.value = sensible ? wanted : input.dataset.published;
  });
  for (const [row, box] of picks) box.checked = listed("pick").includes(row.dataset.model);
  if (field("only")) field("only").checked = state.get("only") === "1";
  const [column, order] = (state.get("sort") ?? "").split(":");
  const known = headers.some((header) => header.dataset.column === column);
  sorting = known && ["ascending", "descending"].includes(order) ? { column, order } : { column: "", order: "" };
}
