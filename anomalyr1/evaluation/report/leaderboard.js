"use strict";
(() => {
  const benchmark = document.getElementById("benchmark");
  const kinds = [...document.querySelectorAll("input[data-kind]")];
  const rows = [...document.querySelectorAll(".board tbody tr")];
  const filter = () => {
    const shown = new Set(kinds.filter((box) => box.checked).map((box) => box.dataset.kind));
    for (const row of rows) {
      const wanted = benchmark.value === "" || row.dataset.benchmark === benchmark.value;
      row.hidden = !(wanted && shown.has(row.dataset.kind));
    }
  };
  benchmark.addEventListener("change", filter);
  for (const box of kinds) box.addEventListener("change", filter);
  for (const table of document.querySelectorAll(".board")) {
    const heads = [...table.querySelectorAll("thead th")];
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      const numeric = button.dataset.sort === "number";
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const down = before === null ? numeric : before === "ascending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => row.cells[column].dataset.value;
        const sorted = [...body.rows].sort((one, other) => {
          const a = value(one), b = value(other);
          if (a === "" || b === "") return (a === "") - (b === "");
          const order = numeric ? a - b : a.localeCompare(b);
          return down ? -order : order;
        });
        body.append(...sorted);
      });
    });
  }
})();
