"use strict";
const value = cell => cell.dataset.v ?? cell.textContent.trim();
const key = text => text === "" ? -Infinity : isNaN(text) ? text : Number(text);
function order(a, b) {
  if (typeof a === typeof b) return typeof a === "number" ? a - b || 0 : a.localeCompare(b, undefined, {numeric: true});
  return typeof a === "number" ? -1 : 1;
}
for (const table of document.querySelectorAll("table.sort")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.ariaSort === "ascending" || (!head.ariaSort && head.classList.contains("number"));
      heads.forEach(one => one.removeAttribute("aria-sort"));
      head.ariaSort = down ? "descending" : "ascending";
      const rows = [...body.rows].map(row => [key(value(row.cells[column])), row]);
      rows.sort((a, b) => down ? order(b[0], a[0]) : order(a[0], b[0]));
      body.append(...rows.map(pair => pair[1]));
    });
  });
}
for (const table of document.querySelectorAll("table.filter")) {
  if (table.tBodies[0].rows.length < 12) continue;
  const label = document.createElement("label"), input = document.createElement("input");
  label.className = "find";
  input.type = "search";
  label.append("Show rows with ", input);
  table.closest(".scroll").before(label);
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
