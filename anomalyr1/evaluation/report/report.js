"use strict";
(() => {
  const gallery = document.getElementById("gallery");
  if (!gallery) return;
  const cards = [...gallery.querySelectorAll(".card")];
  const buttons = [...document.querySelectorAll("[data-filter]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const wanted = button.dataset.filter;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      for (const card of cards) {
        card.hidden = wanted !== "all" && !card.dataset.tags.split(" ").includes(wanted);
      }
    });
  }
  for (const view of gallery.querySelectorAll("[data-zoom]")) {
    view.addEventListener("click", () => view.closest(".card").classList.toggle("large"));
  }
  for (const box of document.querySelectorAll("[data-layer]")) {
    box.addEventListener("change", () => {
      gallery.classList.toggle("without-" + box.dataset.layer, !box.checked);
    });
  }
})();
