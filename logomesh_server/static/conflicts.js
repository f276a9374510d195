// One key for each decision. The keys work on the conflict that has the focus, the first one to begin with.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const all = [...document.querySelectorAll(".conflict")];
  const hint = document.querySelector(".keys");
  if (hint) hint.hidden = false;
  let at = 0;
  const here = () => {
    const focused = document.activeElement?.closest?.(".conflict");
    return focused ? all.indexOf(focused) : at;
  };
  const go = (to) => {
    at = Math.max(0, Math.min(all.length - 1, to));
    all[at]?.focus({ preventScroll: true });
    all[at]?.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select")) return;
    const key = event.key.toLowerCase();
    if (key === "j" || key === "k") go(here() + (key === "j" ? 1 : -1));
    else if (/^[1-4beu]$/.test(key)) {
      const scope = key === "u" ? document : all[here()];
      const wanted = scope?.querySelector(`[data-key="${key}"]`);
      if (!wanted) return;
      wanted.click();
      if (key === "e") wanted.parentElement.querySelector("textarea")?.focus();
    } else return;
    event.preventDefault();
  });
});
