// Replaces a figure's drawing with the same chart, made interactive. Expressions are interpreted, not
// compiled, so that the page's policy need not allow code to be made from text.
"use strict";
(() => {
  for (const figure of document.querySelectorAll("[data-figure]")) {
    const spec = document.getElementById(`spec-${figure.dataset.figure}`);
    if (!spec || !window.vegaEmbed) continue;
    const live = document.createElement("div");
    live.className = "live";
    const canvas = figure.querySelector(".canvas");
    window
      .vegaEmbed(live, JSON.parse(spec.textContent), { ast: true, renderer: "svg", actions: false, defaultStyle: false })
      .then(() => {
        canvas.replaceChildren(live);
        figure.dataset.live = "true";
        for (const hint of document.querySelectorAll(".scripted")) hint.hidden = false;
      })
      .catch((error) => console.error(error)); // the drawing stays
  }
})();
