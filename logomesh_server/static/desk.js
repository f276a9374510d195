// The managers' desk by keyboard: the theme's buttons that are links to nowhere can be reached and pressed.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const filters = document.getElementById("changelist-filter");
  document.querySelectorAll("a:not([href])").forEach((button) => {
    button.setAttribute("role", "button");
    button.tabIndex = 0;
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      button.click();
      if (filters) setTimeout(() => filters.querySelector("a, select, input:not([type=hidden])")?.focus(), 100);
    });
  });
});
