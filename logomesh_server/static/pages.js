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
  const said = document.getElementById("said");
  const away = document.getElementById("away");
  // Tells a screen reader what changed, once.
  const say = (text) => { if (said && text && said.textContent !== text) said.textContent = text; };
  const connected = (is) => { if (away) away.hidden = is; };

  // A part of the page is exchanged: the focus stays where it was, or goes to where one goes on.
  let focused = null;
  let shown = "";
  const address = (element) => element?.getAttribute?.("href");
  const refocus = (part) => {
    if (part.contains(document.activeElement) || !part.querySelector) return;
    const form = part.querySelector("[data-focus]");
    if (form) return void form.focus();
    if (!focused || document.activeElement !== document.body) return;
    const same = focused.id ? document.getElementById(focused.id)
      : [...part.querySelectorAll("a[href]")].find((link) => address(link) === address(focused));
    const next = same || part.querySelector("[data-begin-edit]") || part;
    if (next === part && part.tagName === "ARTICLE") part.tabIndex = -1;
    next.focus({ preventScroll: true });
  };
  // What is to be typed elsewhere can be copied, where the browser allows it.
  const makeCopyable = (pre) => {
    const { copy, copied } = pre.dataset;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "quiet slim", textContent: copy });
    const frame = Object.assign(document.createElement("div"), { className: "copyable" });
    pre.replaceWith(frame);
    frame.append(pre, button);
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(pre.innerText.trim());
      button.textContent = copied;
      say(copied);
      setTimeout(() => { button.textContent = copy; }, 2000);
    });
  };
  addEventListener("DOMContentLoaded", () => {
    spellAll(document);
    const { body } = document;
    if (navigator.clipboard) document.querySelectorAll("pre[data-copy]").forEach(makeCopyable);
    body.addEventListener("htmx:beforeSwap", ({ detail }) => {
      connected(true);
      // What reads as before stays as it is, with its focus and what is selected in it.
      if ("follow" in detail.target.dataset) {
        detail.shouldSwap = shown !== detail.serverResponse;
        shown = detail.serverResponse;
      }
      focused = detail.target.contains(document.activeElement) ? document.activeElement : null;
    });
    body.addEventListener("htmx:load", ({ detail: { elt } }) => {
      spellAll(elt.parentElement || document);
      say(elt.closest?.("[data-say]")?.dataset.say || elt.querySelector?.("[data-say]")?.dataset.say);
      refocus(elt);
    });
    // A part that is gone: go to the page itself, which says what is the matter.
    body.addEventListener("htmx:responseError", ({ detail: { elt } }) => {
      if (elt.tagName === "A" && elt.href) location.href = elt.href;
    });
    for (const name of ["htmx:sendError", "htmx:timeout"]) body.addEventListener(name, () => connected(false));
    follow();
  });

  // A form is sent once, however often somebody clicks; after a while they may try again. What somebody wrote is
  // only sent to a server that answers: the page that a browser shows otherwise has none of it.
  const PATIENCE = 8000;
  const answers = () => fetch("/readyz", { cache: "no-store" }).then((answer) => answer.ok, () => false);
  let sure = null;
  addEventListener("submit", async (event) => {
    const { target: form, submitter } = event;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.hasAttribute("aria-busy")) { event.preventDefault(); return; }
    form.setAttribute("aria-busy", "true");
    if ("written" in form.dataset && sure !== form) {
      event.preventDefault();
      const there = await answers();
      connected(there);
      form.removeAttribute("aria-busy");
      if (!there) return;
      sure = form;
      form.requestSubmit(submitter || undefined);
      sure = null;
      return;
    }
    delete form.dataset.written;
    setTimeout(() => form.removeAttribute("aria-busy"), PATIENCE);
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[aria-busy]")) form.removeAttribute("aria-busy");
  });

  // What was written and not sent: the browser asks before it is thrown away.
  addEventListener("input", ({ target }) => {
    if (target.form?.method === "post" && target.form.querySelector("textarea")) target.form.dataset.written = "";
  });
  addEventListener("beforeunload", (event) => {
    if (document.querySelector("form[data-written]")) event.preventDefault();
  });
  // Ctrl+Enter (or ⌘ Enter) saves. Escape leaves a form that has a way out: where something was written, the second.
  addEventListener("keydown", (event) => {
    const form = event.target.closest?.("form");
    if (!form) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit(form.querySelector("button:not([type=button])"));
    } else if (event.key === "Escape") {
      const out = form.querySelector("[data-leave]");
      if (!out) return;
      if ("written" in form.dataset && !out.matches(".armed")) {
        out.classList.add("armed");
        out.textContent = out.dataset.leave;
        say(out.dataset.leave);
      } else out.click();
    }
  });

  // A part that follows what happens in the spaces: it asks again when the server says that something did. Only
  // a page that somebody sees listens, for a browser has few connections to a server.
  const REST = 2000;
  const follow = () => {
    const part = document.querySelector("[data-follow]");
    if (!part) return;
    let events = null;
    let waits = null;
    const changed = () => {
      waits ??= setTimeout(() => { waits = null; htmx.trigger(part, "changed-there"); }, REST);
    };
    const listen = () => {
      if (document.hidden) { events?.close(); events = null; return; }
      if (events) return;
      events = new EventSource(part.dataset.follow);
      for (const name of ["head", "access"]) events.addEventListener(name, changed);
      changed();
    };
    document.addEventListener("visibilitychange", listen);
    listen();
  };
  setInterval(() => spellAll(document), 60000);
})();
