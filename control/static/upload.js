// Sends a model's files in chunks, each with its SHA-256, and goes on where an earlier upload of the same files stopped.
"use strict";
(() => {
  const form = document.getElementById("upload");
  if (!form) return;
  const [send, pause, why, going] = [form.querySelector("button.good"), ...["pause", "why", "going"].map((id) => document.getElementById(id))];
  const [bar, words] = going.children;
  const CHUNK = Number(form.dataset.chunk);
  const LONGEST_WAIT = 30000; // ms between two tries
  const CORRUPT = 3; // times that a chunk may come in other than it was sent
  let paused = null;

  if (!window.crypto || !crypto.subtle) {
    say("Browsers work out a chunk's SHA-256 over https or on the box itself only. Open the console by https, or import from a path.");
    return;
  }
  why.hidden = true;
  send.disabled = false;
  form.addEventListener("submit", (event) => { event.preventDefault(); upload().catch((error) => say(error.message)).finally(rest); });
  pause.addEventListener("click", () => { if (paused) paused.abort(); });

  function say(text) { why.textContent = text; why.hidden = !text; }
  function rest() { send.disabled = false; pause.hidden = true; paused = null; }

  async function upload() {
    const files = [...document.getElementById("files").files];
    if (!files.length) return;
    say("");
    send.disabled = true;
    pause.hidden = going.hidden = false;
    paused = new AbortController();
    const known = await begun(files) || await json("POST", form.dataset.to, {
      id: form.elements.id.value.trim(), licence: form.elements.licence.value.trim(),
      files: files.map((file) => ({ name: file.name, size_bytes: file.size })),
    });
    const [all, before] = [known.size_bytes, known.files.reduce((sum, one) => sum + one.offset, 0)];
    const told = { all, done: before, before, since: performance.now() };
    for (const [number, one] of known.files.entries()) {
      const file = files.find((other) => other.name === one.name);
      if (await whole(file, `${form.dataset.to}/${known.id}/${number}`, one.offset, told)) return;
    }
    location.assign(form.dataset.tasks);
  }

  // An upload of the same files that stopped: the same names and sizes, and the same bytes at both ends of what is there.
  async function begun(files) {
    for (const known of (await json("GET", form.dataset.to)).uploads) {
      const same = known.files.length === files.length && !known.task && known.files.every((one) => files.some((file) => file.name === one.name && file.size === one.size_bytes));
      if (same && (await Promise.all(known.files.map((one) => matches(files.find((file) => file.name === one.name), one)))).every(Boolean)) return known;
    }
    return null;
  }

  async function matches(file, one) {
    const part = async (from, chunk) => !chunk || hex(await digest(await file.slice(from, from + chunk[0]).arrayBuffer())) === chunk[1];
    return await part(0, one.first) && await part(one.offset - (one.last ? one.last[0] : 0), one.last);
  }

  // Sends one file; true when the import has begun and the browser goes there.
  async function whole(file, address, offset, told) {
    let [wait, corrupt] = [1000, 0];
    while (offset < file.size) {
      const content = await file.slice(offset, offset + CHUNK).arrayBuffer();
      const answer = await patch(address, offset, content);
      if (answer && answer.status === 204) {
        told.done += content.byteLength;
        offset += content.byteLength;
        [wait, corrupt] = [1000, 0];
        show(told);
        if (answer.headers.get("Location")) { location.assign(`${form.dataset.tasks}/${answer.headers.get("Location").split("/").pop()}`); return true; }
        continue;
      }
      const lasting = answer && answer.status >= 400 && answer.status < 500 && ![409, 422, 429].includes(answer.status);
      if (lasting || (answer && answer.status === 422 && ++corrupt >= CORRUPT)) throw new Error(await problem(answer));
      words.textContent = `The box does not answer; tried again in ${Math.round(wait / 1000)} s.`;
      await new Promise((on) => setTimeout(on, answer && answer.status === 409 ? 200 : wait));
      if (paused.signal.aborted) throw new Error("Paused. Upload goes on with it.");
      wait = Math.min(2 * wait, LONGEST_WAIT);
      const there = await fetch(address, { method: "HEAD", signal: paused.signal }).catch(() => null);
      if (there && there.ok) {
        const now = Number(there.headers.get("Upload-Offset"));
        told.done += now - offset;
        offset = now;
      } else if (there && [401, 403, 404].includes(there.status)) throw new Error("The box no longer takes this upload. Load the page again.");
    }
    return false;
  }

  async function patch(address, offset, content) {
    const headers = {
      "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(offset), "Tus-Resumable": "1.0.0",
      "Upload-Checksum": `sha256 ${btoa(String.fromCharCode(...await digest(content)))}`, "X-CSRF-Token": form.dataset.csrf,
    };
    try {
      return await fetch(address, { method: "PATCH", headers, body: content, signal: paused.signal });
    } catch (error) {
      if (error.name === "AbortError") throw new Error("Paused. Upload goes on with it.");
      return null;
    }
  }

  async function json(method, address, body) {
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": form.dataset.csrf };
    const answer = await fetch(address, { method, headers, body: body && JSON.stringify(body), signal: paused.signal });
    if (!answer.ok) throw new Error(await problem(answer));
    return answer.json();
  }

  async function problem(answer) {
    const told = await answer.json().catch(() => ({}));
    return told.error ? `${told.error.message}: ${told.error.hint}` : `The box answered ${answer.status}. Load the page again.`;
  }

  function show(told) {
    bar.max = told.all;
    bar.value = told.done;
    const speed = (told.done - told.before) / Math.max(0.001, (performance.now() - told.since) / 1000);
    const left = Math.round((told.all - told.done) / Math.max(1, speed));
    words.textContent = `${mib(told.done)} of ${mib(told.all)}, ${mib(speed)}/s, ${left < 90 ? `${left} s` : `${Math.round(left / 60)} min`} left`;
  }

  async function digest(content) { return new Uint8Array(await crypto.subtle.digest("SHA-256", content)); }
  function hex(bytes) { return [...bytes].map((one) => one.toString(16).padStart(2, "0")).join(""); }
  function mib(bytes) { return bytes >= 1 << 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`; }
})();
