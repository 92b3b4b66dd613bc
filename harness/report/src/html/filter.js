"use strict";
(() => {
  const form = document.getElementById("filter");
  const rows = [...document.querySelectorAll("details.requirement")];
  if (!form) return;
  form.hidden = false;
  // `report.html?ENC-05` shows what that finds.
  form.words.value = decodeURIComponent(location.search.slice(1));
  const apply = () => {
    const words = form.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const statuses = new Set([...form.querySelectorAll("input[name=status]:checked")].map((box) => box.value));
    let shown = 0;
    for (const row of rows) {
      const fits = statuses.has(row.dataset.status) && words.every((word) => row.dataset.find.includes(word));
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    form.querySelector("output").textContent = `${shown} of ${rows.length}`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  // A link to a requirement opens it; paper shows everything.
  const open = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", open);
  addEventListener("beforeprint", () => rows.forEach((row) => { row.open = true; }));
  apply();
  open();
})();
