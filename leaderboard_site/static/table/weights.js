
// The overall rank under the reader's own weights: a weighted sum of the Borda points of each score.
// A cell's data-rank is "low-high-ranked"; points are one for each model surely worse, a half for a tie.

const weights = [...board.querySelectorAll('[name="weight"]')];
const published = new Map(
  dataRows(models).map((row) => {
    const rank = row.querySelector(".c-rank");
    const borda = row.querySelector(".c-borda");
    return [row, { rank: rank.innerHTML, rankData: { ...rank.dataset }, borda: borda?.textContent, bordaData: borda?.dataset.value }];
  }),
);
let weighed = null; // row -> place, under the reader's weights

function isReweighted() {
  return weights.some((input) => input.value !== input.dataset.published);
}

function points(cell) {
  if (!cell?.dataset.rank) return 0;
  const [low, high, ranked] = cell.dataset.rank.split("-").map(Number);
  return ranked - high + 0.5 * (high - low);
}

function total(row) {
  return weights.reduce((sum, input) => sum + Number(input.value) * points(row.cells[columnIndex(input.dataset.headline)]), 0);
}

function weighRows() {
  for (const input of weights) input.nextElementSibling.value = `×${input.value}`;
  const changed = isReweighted();
  for (const part of board.querySelectorAll(".reweighted")) part.hidden = !changed;
  const mark = board.querySelector("[data-weighted]");
  if (mark) mark.textContent = changed ? "yours" : "";
  if (!changed) {
    if (weighed) restoreRanks();
    weighed = null;
    return;
  }
  const ranked = [...published.keys()].filter((row) => published.get(row).rankData.value !== undefined);
  const totals = new Map(ranked.map((row) => [row, total(row)]));
  weighed = new Map();
  for (const row of ranked) {
    const low = 1 + ranked.filter((other) => totals.get(other) > totals.get(row)).length;
    const high = low - 1 + ranked.filter((other) => totals.get(other) === totals.get(row)).length;
    weighed.set(row, low);
    const cell = row.querySelector(".c-rank");
    cell.dataset.value = low;
    cell.dataset.high = high;
    cell.querySelector(".rank").textContent = low === high ? low : `${low}–${high}`;
    const borda = row.querySelector(".c-borda");
    borda.dataset.value = totals.get(row);
    borda.textContent = totals.get(row).toFixed(1);
  }
}

function restoreRanks() {
  for (const [row, was] of published) {
    const cell = row.querySelector(".c-rank");
    cell.innerHTML = was.rank;
    Object.assign(cell.dataset, was.rankData);
    const borda = row.querySelector(".c-borda");
    borda.textContent = was.borda;
    if (was.bordaData !== undefined) borda.dataset.value = was.bordaData;
  }
}

function byRank(a, b) {
  if (weighed) {
    const order = (weighed.get(a) ?? Infinity) - (weighed.get(b) ?? Infinity);
    if (order) return order;
  }
  return defaultOrder.get(a) - defaultOrder.get(b);
}

function resetWeights() {
  for (const input of weights) input.value = input.dataset.published;
}
