// Shows how far an upload is. Without JavaScript the form is sent as any other.
"use strict";
addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form[data-upload]");
  if (!form) return;
  const bar = form.querySelector("progress");
  const figures = form.querySelector("[data-figures]");
  const megabytes = (bytes) => (bytes / 1e6).toLocaleString(undefined, { maximumFractionDigits: 1 });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const request = new XMLHttpRequest();
    const began = performance.now();
    request.upload.onprogress = ({ loaded, total }) => {
      bar.parentElement.hidden = false;
      bar.value = loaded / total;
      const speed = loaded / Math.max(0.001, (performance.now() - began) / 1000);
      const left = Math.ceil((total - loaded) / speed);
      figures.textContent = `${megabytes(loaded)} of ${megabytes(total)} MB, ${megabytes(speed)} MB/s, ${left} s left`;
    };
    // The answer is a redirect that the browser has followed: go where it led.
    request.onload = () => { location.href = request.responseURL; };
    request.onerror = () => {
      figures.textContent = "The connection broke. Nothing was kept of this try; send the file again.";
      form.querySelector("button").disabled = false;
    };
    form.querySelector("button").disabled = true;
    request.open("POST", form.action || location.href);
    request.send(new FormData(form));
  });
});
