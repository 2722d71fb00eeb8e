// Streams the answers of the playground. Without it the form is sent and comes back with whole answers.
"use strict";
(() => {
  const form = document.getElementById("playground");
  if (!form || !window.ReadableStream) return;
  const send = form.querySelector("button.good");
  const stop = document.getElementById("stop");
  const words = document.getElementById("words");
  let stopping = null;

  form.addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  stop.addEventListener("click", () => { if (stopping) stopping.abort(); });
  words.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); }
  });

  async function ask() {
    const question = words.value.trim();
    const sides = [...form.querySelectorAll("[data-side]")].filter((side) => side.querySelector("select").value);
    if (stopping || !question || !sides.length) return;
    stopping = new AbortController();
    send.disabled = true;
    stop.hidden = false;
    const sent = new FormData(form);
    const answered = await Promise.all(sides.map((side) => one(side, sent, question)));
    if (answered.some(Boolean)) words.value = "";
    stopping = null;
    send.disabled = false;
    stop.hidden = true;
    words.focus();
  }

  // One model's answer; true when there is one, whole or as far as it was let come.
  async function one(side, sent, question) {
    const log = side.querySelector(".turns");
    log.setAttribute("aria-busy", "true");
    add(log, "turn user", question);
    const answer = add(log, "turn assistant", "");
    const waiting = add(log, "hush figure", "waiting for the first token …");
    const began = performance.now();
    const clock = setInterval(() => {
      if (!answer.textContent) waiting.textContent = `waiting for the first token, ${Math.round((performance.now() - began) / 1000)} s`;
    }, 1000);
    let thoughts = null;
    let problem = "";
    try {
      for await (const told of lines(side, sent)) {
        if (told.problem) problem = told.problem;
        else if (told.model) { waiting.textContent = figures(told); waiting.title = told.route; }
        if (told.thought) { thoughts = thoughts || details(log, answer); thoughts.textContent += told.thought; }
        if (told.text) { answer.textContent += told.text; waiting.textContent = "writing …"; }
        if (told.model) { answer.dataset.whole = "yes"; serves(told.model); }
        log.scrollTop = log.scrollHeight;
      }
      if (!problem && !answer.dataset.whole) problem = "The answer broke off. Ask again.";
    } catch (error) {
      problem = error.name === "AbortError" ? "" : `The console does not answer (${error.message}). Load the page again.`;
    }
    clearInterval(clock);
    if (!answer.dataset.whole) waiting.textContent = problem ? "" : "stopped by you";
    if (problem) { const note = add(log, "note bad", problem[0].toUpperCase() + problem.slice(1)); note.setAttribute("role", "alert"); }
    if (!waiting.textContent) waiting.remove();
    const said = answer.textContent !== "";
    if (said && !problem) remember(side, question, answer.textContent);
    if (!said) answer.remove();
    log.removeAttribute("aria-busy");
    log.scrollTop = log.scrollHeight;
    return said && !problem;
  }

  async function* lines(side, sent) {
    const body = new URLSearchParams();
    for (const [name, value] of sent) body.append(name, value);
    body.append("side", side.dataset.side);
    const answer = await fetch(form.dataset.stream, { method: "POST", body, signal: stopping.signal, redirect: "error" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n");
      rest = parts.pop();
      for (const part of parts) if (part) yield JSON.parse(part);
    }
  }

  function remember(side, question, answer) {
    const kept = side.querySelector("input[type=hidden]");
    kept.value = JSON.stringify([...JSON.parse(kept.value), { role: "user", content: question }, { role: "assistant", content: answer }]);
  }

  function add(log, look, text) {
    const made = document.createElement("p");
    made.className = look;
    made.textContent = text; // what a model says is text, never markup
    log.append(made);
    return made;
  }

  function details(log, before) {
    const made = document.createElement("details");
    const summary = document.createElement("summary");
    const inner = document.createElement("p");
    summary.textContent = "What it said to itself";
    inner.className = "turn hush";
    made.append(summary, inner);
    log.insertBefore(made, before);
    return inner;
  }

  function serves(model) {
    for (const option of form.querySelectorAll("option")) if (option.value === model) option.textContent = `${model} (ready)`;
  }

  function figures(told) {
    const first = told.first_token_seconds === null ? "" : `first token after ${told.first_token_seconds.toFixed(2)} s, `;
    const speed = told.tokens_per_second === null ? "" : `${told.tokens_per_second.toFixed(1)} tokens/s, `;
    const cut = told.finish === "length" ? "; cut at the most tokens" : "";
    return `${told.model}: ${first}${speed}${told.completion_tokens} token${told.completion_tokens === 1 ? "" : "s"} in ${told.seconds.toFixed(2)} s${cut}`;
  }
})();
