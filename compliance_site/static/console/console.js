// What HTML cannot do alone. Every page works without it.
"use strict";

const search = document.querySelector("[data-search], #searchbar");
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && search && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search.focus();
    search.select();
  }
  if (event.key === "Escape") closePopovers(null, true);
});

// Popovers are <details name="popover">: one at a time, closed by Escape or a click elsewhere.
function closePopovers(except, returnFocus) {
  for (const open of document.querySelectorAll('details[name="popover"][open]')) {
    if (open === except) continue;
    const hadFocus = open.contains(document.activeElement);
    open.open = false;
    if (returnFocus && hadFocus) open.querySelector("summary").focus();
  }
}
document.addEventListener("click", (event) => closePopovers(event.target.closest('details[name="popover"]')));

// An address shows what is asked for, not the questions that were left blank.
for (const form of document.querySelectorAll("form[data-filters]")) {
  form.addEventListener("submit", () => {
    const period = form.elements.namedItem("period");
    for (const field of form.elements) {
      const isHiddenDate = field.matches("[data-date]") && period.value !== "custom";
      if (field.name && (isHiddenDate || !field.value.trim())) field.disabled = true;
    }
  });
  for (const date of form.querySelectorAll("[data-date]")) {
    // A date picker, unless the address holds a moment, which it could not show.
    if (!date.value || /^\d{4}-\d\d-\d\d$/.test(date.value)) date.type = "date";
  }
}
// Back in the history, the fields answer again.
window.addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("form[data-filters] :disabled")) field.disabled = false;
});

for (const form of document.querySelectorAll("form[data-selection]")) {
  const all = form.querySelector("[data-select-all]");
  const boxes = [...form.querySelectorAll('input[name="_selected_action"]')];
  const count = form.querySelector("[data-selected-count]");
  const show = () => {
    const selected = boxes.filter((box) => box.checked).length;
    all.checked = selected === boxes.length;
    all.indeterminate = selected > 0 && !all.checked;
    count.textContent = selected ? `${selected} selected:` : "None selected";
    for (const button of form.querySelectorAll(".selection button")) button.hidden = !selected;
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
  });
  form.addEventListener("change", show);
  show();
}

// The reader's own time beside UTC, where the two differ.
for (const place of document.querySelectorAll("[data-local-time]")) {
  const moment = new Date(place.dataset.localTime);
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!moment.getTimezoneOffset()) continue;
  const local = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
  place.textContent = ` · ${local} in ${zone.replaceAll("_", " ")}`;
}

for (const button of document.querySelectorAll("[data-copy-link]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  });
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
