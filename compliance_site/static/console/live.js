// A part of a page that follows something under way: soon while it moves, seldom while it rests.
"use strict";

// Each look is an entry of the audit log: a page left open overnight must not fill it.
const LONGEST_SECONDS = 300;

function follow(part) {
  let seconds = Number(part.dataset.refresh);
  let before = part.dataset.mark;

  async function look() {
    if (document.hidden) return again();
    let answer;
    try {
      answer = await fetch(part.dataset.live, { headers: { "X-Requested-With": "fetch" }, redirect: "manual" });
    } catch {
      return again(LONGEST_SECONDS);
    }
    // In maintenance: what the page follows may be the very reason.
    if (answer.status === 503) return again(Number(answer.headers.get("Retry-After")) || seconds);
    // Signed out or not allowed any more: the page stays as it is, unless what it follows may be why.
    if (!answer.ok) return "reload" in part.dataset ? location.reload() : undefined;
    show(await answer.text());
  }

  function show(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("[data-live]");
    if (!fresh) return;
    const moved = fresh.dataset.mark !== before;
    before = fresh.dataset.mark;
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    part.replaceChildren(...fresh.childNodes);
    if (moved) say(part.querySelector("h1").textContent);
    if (focused) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
    const asked = Number(fresh.dataset.refresh);
    // It has come to its end: what else the page says of it is out of date.
    if (!asked) return location.reload();
    seconds = moved ? asked : Math.min(seconds * 1.5, LONGEST_SECONDS);
    again();
  }

  // Said to screen readers once for each move, and not at each look.
  function say(sentence) {
    document.querySelector("[data-live-said]").textContent = sentence;
  }

  function again(wait = seconds) {
    setTimeout(look, wait * 1000);
  }

  if (seconds) again();
}

for (const part of document.querySelectorAll("[data-live]")) follow(part);
