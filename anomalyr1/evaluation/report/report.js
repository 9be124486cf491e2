"use strict";
(() => {
  const gallery = document.getElementById("gallery");
  if (!gallery) return;
  const cards = [...gallery.querySelectorAll(".card")].map((card) => ({
    card,
    answers: [...card.querySelectorAll(".answer")],
  }));
  const selects = [...document.querySelectorAll("[data-facet]")];
  const clear = document.querySelector("[data-clear]");
  const valueOf = (card, answer, facet) => answer.dataset[facet] ?? card.dataset[facet];
  const fits = (card, answer, but) => selects.every((select) => select === but ||
    !select.value || valueOf(card, answer, select.dataset.facet) === select.value);

  function countValues(select) {
    const counts = new Map();
    for (const { card, answers } of cards) {
      const fitting = answers.filter((answer) => fits(card, answer, select));
      const values = new Set(fitting.map((one) => valueOf(card, one, select.dataset.facet)));
      for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    for (const option of select.options) {
      if (!option.value) continue;
      option.textContent = `${option.dataset.name} (${counts.get(option.value) ?? 0})`;
    }
  }

  function show() {
    const shown = { images: 0, questions: 0 };
    for (const { card, answers } of cards) {
      for (const answer of answers) answer.hidden = !fits(card, answer);
      const fitting = answers.filter((answer) => !answer.hidden).length;
      card.hidden = fitting === 0;
      shown.images += fitting > 0 ? 1 : 0;
      shown.questions += fitting;
    }
    for (const [what, count] of Object.entries(shown)) {
      document.querySelector(`[data-count=${what}]`).textContent = count.toLocaleString("en");
    }
    selects.forEach(countValues);
    const set = selects.filter((select) => select.value);
    for (const select of selects) select.classList.toggle("set", set.includes(select));
    if (clear) clear.disabled = set.length === 0;
    const name = (select) => select.labels[0].firstElementChild.textContent;
    const told = set.map((select) => `${name(select)}: ${select.value}`).join(", ");
    document.querySelector("[data-chosen]").textContent = told && ` (${told})`;
  }

  function reset() {
    for (const select of selects) select.value = "";
    show();
  }

  function reveal(hash) {
    const answer = hash.length > 1 && document.getElementById(hash.slice(1));
    if (!answer || !gallery.contains(answer)) return;
    if (answer.hidden || answer.closest(".card").hidden) reset();
    answer.open = true;
    answer.scrollIntoView();
  }

  for (const select of selects) select.addEventListener("change", show);
  if (clear) {
    clear.addEventListener("click", () => {
      reset();
      selects[0].focus(); // a button that cannot be pressed again would lose it
    });
  }
  for (const link of document.querySelectorAll(".changed a")) {
    link.addEventListener("click", () => reveal(link.hash));
  }
  for (const button of gallery.querySelectorAll("[data-zoom]")) {
    const toggle = () => {
      const large = button.closest(".card").classList.toggle("large");
      button.setAttribute("aria-pressed", String(large));
    };
    button.addEventListener("click", toggle);
    button.previousElementSibling.addEventListener("click", toggle);
  }
  for (const box of document.querySelectorAll("[data-layer]")) {
    const change = () => gallery.classList.toggle("without-" + box.dataset.layer, !box.checked);
    box.addEventListener("change", change);
    change(); // a browser keeps what was set before the page was loaded again
  }
  for (const controls of document.querySelectorAll(".controls")) controls.hidden = false;
  show();
  reveal(location.hash);
})();
