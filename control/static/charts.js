// Draws the table of each `figure[data-chart]` above it, and again whenever the table changes. Without this, or without
// uPlot, the table alone is there: nothing is told by the drawing only.
"use strict";
(() => {
  if (!window.uPlot) return;
  const DAY = 86400; // s
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function read(table) {
    const rows = [...table.tBodies[0].rows];
    return [...table.tHead.rows[0].cells].map((_, n) => rows.map((row) => {
      const given = row.cells[n]?.dataset.v;
      return given ? Number(given) : null;
    }));
  }

  function draw(figure) {
    const style = getComputedStyle(figure);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const table = figure.querySelector("table");
    const place = figure.querySelector(".plot");
    const heads = [...table.tHead.rows[0].cells];
    const day = (at) => new Date(at * 1000).toISOString().slice(5, 10);
    const axis = { stroke: colour("hush"), grid: { stroke: colour("rule"), width: 1 }, ticks: { show: false }, font: `12px ${style.fontFamily}` };
    const plot = new uPlot({
      width: Math.max(200, place.clientWidth),
      height: 180,
      cursor: { y: false, drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [Math.min(0, low), Math.max(1, high * 1.1)] } },
      series: [
        { label: heads[0].textContent, value: (_, at) => (at === null ? "–" : new Date(at * 1000).toISOString().slice(0, 10)) },
        ...heads.slice(1).map((head) => ({
          label: head.textContent, stroke: colour(head.dataset.tone), width: 2, points: { size: 5 }, spanGaps: false,
          value: (_, value) => (value === null ? "–" : `${value} ${figure.dataset.unit}`.trim()),
        })),
      ],
      axes: [
        { ...axis, size: 30, values: (_, at) => at.map(day), incrs: [1, 2, 7, 14, 28, 91, 182, 364].map((n) => n * DAY), space: 60 },
        { ...axis, size: 46, values: (_, at) => at.map((value) => `${value}`), incrs: figure.dataset.whole ? [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1e5] : undefined },
      ],
    }, read(table), place);
    return plot;
  }

  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const table = figure.querySelector("table");
    if (!table || table.tBodies[0].rows.length < 2) continue; // one point is no course
    let plot = draw(figure);
    figure.querySelector("details").open = false;
    const anew = () => { plot.destroy(); plot = draw(figure); };
    dark.addEventListener("change", anew);
    new ResizeObserver(() => plot.setSize({ width: Math.max(200, figure.querySelector(".plot").clientWidth), height: 180 })).observe(figure);
    new MutationObserver(() => plot.setData(read(table))).observe(table, { childList: true, subtree: true, attributes: true });
  }
})();
