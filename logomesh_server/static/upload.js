// Sends files in pieces that survive a broken link, a closed page and a restarted server (tus).
// Without JavaScript the form is sent as any other.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const PIECE = 4 * 1024 * 1024;
  // For an hour it tries again by itself.
  const PATIENCE = [200, 500, 1000, 2000, ...Array(720).fill(5000)];
  const part = (name) => form.querySelector(`[data-${name}]`);
  const input = form.querySelector("input[type=file]");
  const drop = part("drop");
  const words = form.dataset;
  const language = document.documentElement.lang;

  const role = (name) => (/-(wal|journal)$/.exec(name) || [0, "file"])[1];
  const chosen = () => [...input.files].sort((a, b) => role(a.name).localeCompare(role(b.name)));
  const setOf = (files) => files.map((file) => `${role(file.name)}:${file.size}:${file.lastModified}`).join();

  // What was half sent once, as the server knows it.
  const known = (set, file) => {
    const rows = [...document.querySelectorAll("[data-waiting]")];
    const row = rows.find(({ dataset }) =>
      dataset.set === set && dataset.role === role(file.name) && dataset.name === file.name);
    return row ? row.dataset.waiting : null;
  };

  const size = (bytes) => {
    const units = ["B", "KB", "MB", "GB", "TB"];
    const step = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
    const number = bytes / 1024 ** step;
    return `${number.toLocaleString(language, { maximumFractionDigits: step < 2 || number >= 100 ? 0 : 1 })} ${units[step]}`;
  };
  const duration = (seconds) => {
    const [amount, unit] = seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
    const style = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: unit === "hour" ? 1 : 0 };
    return Math.max(1, amount).toLocaleString(language, style);
  };

  input.addEventListener("change", () => {
    const list = part("chosen");
    list.replaceChildren(...chosen().map((file) => {
      const line = document.createElement("li");
      line.textContent = `${file.name} · ${size(file.size)}`;
      return line;
    }));
    list.hidden = !input.files.length;
  });
  const over = (is) => (event) => { event.preventDefault(); drop.classList.toggle("over", is); };
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, over(true));
  for (const name of ["dragleave", "dragend"]) drop.addEventListener(name, over(false));
  drop.addEventListener("drop", (event) => {
    over(false)(event);
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change"));
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const files = chosen();
    const set = setOf(files);
    const total = files.reduce((sum, file) => sum + file.size, 0);
    const sent = new Map();
    const urls = new Map();
    let upload = null;
    let paused = false;
    let moments = [];

    const say = (text) => { part("trouble").textContent = text; };
    const show = (state) => {
      part("begin").hidden = true;
      part("sending").hidden = false;
      part("pause").hidden = state !== "sending";
      part("resume").hidden = state === "sending";
      form.dataset.state = state;
    };
    const progress = (file, bytes) => {
      sent.set(file, bytes);
      const done = [...sent.values()].reduce((sum, each) => sum + each, 0);
      const now = performance.now() / 1000;
      moments = [...moments.filter(([at]) => now - at < 10), [now, done]];
      const [[since, before]] = moments;
      const speed = (done - before) / Math.max(0.001, now - since);
      form.querySelector("progress").value = total ? done / total : 1;
      part("figures").textContent = words.figures.replace("{done}", size(done)).replace("{total}", size(total));
      part("speed").textContent = now - since < 1 || speed < 1 ? "" : words.speed
        .replace("{speed}", size(speed)).replace("{left}", duration((total - done) / speed));
    };

    const send = (file) => new Promise((resolve, reject) => {
      upload = new tus.Upload(file, {
        endpoint: form.dataset.upload,
        uploadUrl: urls.get(file) || known(set, file),
        chunkSize: PIECE,
        retryDelays: PATIENCE,
        storeFingerprintForResuming: false,
        headers: { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value },
        metadata: { filename: file.name, role: role(file.name), set },
        onProgress: (bytes) => progress(file, bytes),
        onChunkComplete: () => say(""),
        onShouldRetry: (error) => {
          const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
          const again = status === 0 || status >= 500 || status === 409 || status === 423 || status === 429;
          if (again) {
            say(words.trouble);
            moments = [];
          }
          return again && !paused;
        },
        onUploadUrlAvailable: () => urls.set(file, upload.url),
        onSuccess: () => resolve(upload.url),
        onError: reject,
      });
      upload.start();
    });
    const refusal = (error) => {
      const answer = error.originalResponse && error.originalResponse.getBody();
      try { return JSON.parse(answer).detail || words.stopped; } catch { return words.stopped; }
    };

    part("pause").onclick = () => {
      paused = true;
      upload.abort();
      show("paused");
      say(words.paused);
      part("resume").focus();
    };
    let again = () => upload.start();
    part("resume").onclick = () => {
      paused = false;
      moments = [];
      say("");
      show("sending");
      again();
      part("pause").focus();
    };
    part("forget").onclick = async () => {
      paused = true;
      try { await upload.abort(true); } finally { location.reload(); }
    };
    const refused = (error) => new Promise((resolve) => {
      show("paused");
      say(refusal(error));
      again = () => { again = () => upload.start(); resolve(); };
    });

    show("sending");
    for (const file of files) {
      for (let done = false; !done;) {
        try {
          urls.set(file, await send(file));
          done = true;
        } catch (error) {
          await refused(error);
        }
      }
    }
    input.disabled = true; // the bytes are there already
    form.elements.upload.value = urls.get(files[0]).split("/").pop();
    form.submit();
  });
});
