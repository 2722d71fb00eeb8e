// Ctrl-K asks the page Find from anywhere, `?` shows its keys, `g` and a letter go there. What is offered comes from the
// box as a page, so that it is what the role may do, and the same without this script.
"use strict";
(() => {
  const opener = document.getElementById("find");
  if (!opener || !window.HTMLDialogElement) return;
  const WAIT = 120; // ms of typing
  const PATIENCE = 1500; // ms between `g` and its letter
  let dialog = null;
  let asked = 0;

  async function page(words) {
    const answer = await fetch(`${opener.href}?q=${encodeURIComponent(words)}`, { headers: { Accept: "text/html" }, redirect: "error" });
    if (!answer.ok) throw new Error(answer.statusText);
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  function made(name, attributes = {}, ...children) {
    const one = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.append(...children);
    return one;
  }

  function open(label, ...content) {
    dialog?.close();
    dialog = made("dialog", { class: "palette", "aria-label": label }, ...content);
    dialog.addEventListener("close", function () { this.remove(); if (dialog === this) dialog = null; });
    dialog.addEventListener("click", function (event) { if (event.target === this) this.close(); });
    document.body.append(dialog);
    dialog.showModal();
  }

  function find() {
    const list = made("ul", { id: "palette-list", role: "listbox", "aria-label": "Found" });
    const said = made("p", { class: "hush", role: "status" });
    const field = made("input", {
      role: "combobox", "aria-expanded": "false", "aria-controls": "palette-list", "aria-autocomplete": "list",
      "aria-label": "Find a page, an item, a repository or a command", placeholder: "Page, item, repository, command", maxlength: "200", autocomplete: "off",
    });
    let timer = null;

    function choose(option) {
      for (const one of list.children) one.setAttribute("aria-selected", String(one === option));
      if (option) {
        field.setAttribute("aria-activedescendant", option.id);
        option.scrollIntoView({ block: "nearest" });
      } else field.removeAttribute("aria-activedescendant");
    }

    async function look() {
      const mine = ++asked;
      try {
        const links = [...(await page(field.value)).querySelectorAll("#found li")];
        if (mine !== asked || !dialog) return; // a later question was put meanwhile
        list.replaceChildren(...links.map((one, n) => {
          const link = one.querySelector("a");
          const option = made("li", { id: `way-${n}`, role: "option", "aria-selected": "false" }, link.textContent, made("span", { class: "hush" }, one.querySelector("span").textContent));
          option.dataset.to = link.getAttribute("href");
          option.addEventListener("click", () => location.assign(option.dataset.to));
          return option;
        }));
        said.textContent = links.length ? "" : "Nothing is called so.";
        field.setAttribute("aria-expanded", String(links.length > 0));
        choose(list.firstElementChild);
      } catch {
        said.textContent = "The box does not answer.";
      }
    }

    field.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, WAIT); });
    field.addEventListener("keydown", async (event) => {
      const all = [...list.children];
      const at = all.findIndex((one) => one.getAttribute("aria-selected") === "true");
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
      if (event.key === "Enter") {
        event.preventDefault();
        clearTimeout(timer);
        if (timer) await look(); // what was typed last counts, not what was found before
        const option = list.querySelector("[aria-selected=true]");
        if (option) location.assign(option.dataset.to);
      } else if (to !== undefined && all.length && (event.key.startsWith("Arrow") || !field.value)) {
        event.preventDefault();
        choose(all.at(to % all.length));
      }
    });
    open("Find", field, list, said);
    field.focus();
    look();
  }

  async function keys() {
    try {
      const table = document.importNode((await page("")).querySelector("#keys"), true);
      const close = made("button", { class: "plain small", type: "button" }, "Close");
      close.addEventListener("click", () => dialog.close());
      open("Keys", table, close);
    } catch {
      location.assign(opener.href);
    }
  }

  let since = 0;
  async function go(letter) {
    try {
      const way = (await page("")).querySelector(`kbd[data-key="${CSS.escape(letter)}"]`);
      if (way) location.assign(way.dataset.to);
    } catch { /* the box does not answer: stay here */ }
  }

  opener.addEventListener("click", (event) => { event.preventDefault(); find(); });
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      if (!dialog) find();
      return;
    }
    if (dialog || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    const going = Date.now() - since < PATIENCE;
    since = 0;
    if (event.key === "?") keys();
    else if (going && /^[a-z]$/.test(event.key)) go(event.key);
    else if (event.key === "g") since = Date.now();
  });
})();
