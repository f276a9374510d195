// What all pages gain where there is JavaScript: times in the reader's zone, and keys.
"use strict";
(() => {
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
  const time = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const ago = new Intl.RelativeTimeFormat(document.documentElement.lang || undefined, { numeric: "auto" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
  const spell = (at, style) => {
    if (style === "day") return day.format(at);
    const seconds = (at - Date.now()) / 1000;
    if (style === "ago" && seconds < -30 * 86400) return day.format(at);
    if (style !== "ago") return time.format(at);
    const [unit, length] = units.find(([, length]) => Math.abs(seconds) >= length) || ["minute", 60];
    return ago.format(Math.round(seconds / length), unit);
  };
  const spellAll = (root) => root.querySelectorAll("time[data-style]").forEach((element) => {
    const at = new Date(element.dateTime);
    if (Number.isNaN(at.getTime())) return;
    element.textContent = spell(at, element.dataset.style);
    element.title = time.format(at);
  });
  addEventListener("DOMContentLoaded", () => {
    spellAll(document);
    document.body.addEventListener("htmx:load", (event) => spellAll(event.detail.elt.parentElement || document));
    // A form that came in by itself is where one writes next; unless one writes in it already, for it is told late.
    document.body.addEventListener("htmx:load", ({ detail: { elt } }) => {
      if (!elt.contains(document.activeElement)) elt.querySelector?.("[data-focus]")?.focus();
    });
  });
  // A part that is gone, or a server that is away: go to the page itself, which says what is the matter.
  addEventListener("htmx:responseError", (event) => {
    const { elt } = event.detail;
    if (elt.tagName === "A" && elt.href) location.href = elt.href;
  });
  // Ctrl+Enter (or ⌘ Enter) saves, Escape leaves a form that has a way out.
  addEventListener("keydown", (event) => {
    const form = event.target.closest?.("form");
    if (!form) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit(form.querySelector("button:not([type=button])"));
    } else if (event.key === "Escape") form.querySelector("[data-leave]")?.click();
  });
  setInterval(() => spellAll(document), 60000);
})();
