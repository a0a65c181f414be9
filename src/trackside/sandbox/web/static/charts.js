"use strict";
// Draws every ```mermaid block. The text stays where a chart cannot be drawn.
(async () => {
  if (!window.mermaid) return;
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  mermaid.initialize({
    startOnLoad: false,
    securityLevel: "strict",
    suppressErrorRendering: true,
    theme: dark ? "dark" : "default",
    themeVariables: {
      xyChart: {
        backgroundColor: "transparent",
        plotColorPalette: dark ? "#58a6ff, #f0883e, #3fb950, #db61a2" : "#0969da, #bc4c00, #1a7f37, #bf3989",
      },
    },
  });
  let number = 0;
  for (const block of document.querySelectorAll("pre.mermaid")) {
    // A chart inside folded details has no width to measure: open while drawing.
    const folded = [];
    for (let at = block.parentElement; at; at = at.parentElement) {
      if (at.tagName === "DETAILS" && !at.open) { at.open = true; folded.push(at); }
    }
    try {
      const drawn = await mermaid.render(`chart-${++number}`, block.textContent);
      const box = document.createElement("div");
      box.className = "chart";
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", "Chart");
      box.innerHTML = drawn.svg;
      block.replaceWith(box);
    } catch (problem) {
      block.title = `This chart cannot be drawn: ${problem.message}`;
      block.classList.add("undrawn");
    }
    for (const one of folded) one.open = false;
  }
  document.body.dataset.charts = "done";
})();
