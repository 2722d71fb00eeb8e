// Keeps a page live: listens to the box's events and swaps the parts marked `data-live` for fresh ones.
// Without it every page still works; it is then as old as its last load.
"use strict";
(() => {
  const badge = document.getElementById("live");
  if (!badge || !window.EventSource) return;

  const SILENCE = 25000; // ms; the server gives a sign of life every 10 s
  const CALM = 400; // ms; events come in bursts, one fetch is enough for each
  let lastWord = Date.now();
  let staleSince = null;
  let timer = null;
  let busy = false;
  let again = false;

  function show(tone, text, title) {
    if (badge.textContent !== text) badge.textContent = text;
    badge.className = `badge ${tone}`;
    badge.title = title;
    badge.hidden = false;
  }

  function fresh() {
    lastWord = Date.now();
    if (staleSince) soon(); // what happened meanwhile is not on the page yet
    staleSince = null;
    show("good", "live", "This page follows the box.");
  }

  function stale() {
    if (!staleSince) staleSince = new Date(lastWord);
    const clock = staleSince.toLocaleTimeString([], { hour12: false });
    show("wait", `stale since ${clock}`, "The line to the box is broken. It is tried again by itself.");
  }

  function soon() {
    if (timer) return;
    timer = setTimeout(() => { timer = null; refresh(); }, CALM);
  }

  async function refresh() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" });
      if (answer.ok) swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
      else stale();
    } catch {
      stale();
    } finally {
      busy = false;
      if (again) { again = false; soon(); }
    }
  }

  function swap(page) {
    for (const part of document.querySelectorAll("[data-live]")) {
      const next = page.getElementById(part.id);
      if (!next || part.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) continue;
      const open = new Set([...part.querySelectorAll("details[open]")].map((one) => one.id));
      for (const one of next.querySelectorAll("details")) if (open.has(one.id)) one.open = true;
      if (part.innerHTML !== next.innerHTML) part.replaceChildren(...document.importNode(next, true).childNodes);
    }
  }

  const source = new EventSource(`${badge.dataset.source}?after=${badge.dataset.after}`);
  source.onopen = fresh;
  source.onerror = stale;
  source.addEventListener("beat", fresh);
  source.addEventListener("fact", () => { fresh(); soon(); });
  setInterval(() => { if (Date.now() - lastWord > SILENCE) stale(); }, 5000);
  addEventListener("pagehide", () => source.close());
})();
