// Menus of the bar open and close by themselves (<details>); here they also close as menus do: by Escape, and by going on.
"use strict";
(() => {
  const menus = [...document.querySelectorAll("details.menu")];
  const close = (but) => menus.forEach((one) => { if (one !== but) one.open = false; });

  addEventListener("click", (event) => close(event.target.closest("details.menu")));
  addEventListener("focusin", (event) => close(event.target.closest("details.menu")));
  addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && menus.find((one) => one.open);
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  });
})();
