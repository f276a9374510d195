// The canvas of a space: thoughts at their stored positions, in their stored colours, linked by their segments.
"use strict";
addEventListener("DOMContentLoaded", async () => {
  const map = document.getElementById("map");
  const answer = await fetch(map.dataset.source, { headers: { Accept: "application/json" } });
  if (!answer.ok) { map.textContent = "The canvas could not be loaded. Load the page again."; return; }
  const { thoughts, links } = await answer.json();
  const ink = getComputedStyle(document.documentElement);
  const named = (name) => ink.getPropertyValue(name).trim();
  // A colour is free text in LogoMesh: what the browser does not know is shown in grey.
  const colour = (text) => (text && CSS.supports("color", text) ? text : "#6b7280");
  // What has no position of its own is laid in rows beside the others.
  const placed = thoughts.filter((t) => t.x !== null && t.y !== null);
  const right = placed.reduce((most, t) => Math.max(most, t.x), 0) + 200;
  const apart = placed.length > 0 && new Set(placed.map((t) => `${t.x} ${t.y}`)).size > placed.length / 2;
  // Canvases reach from a handful of pixels to many thousands: marks and words grow with them.
  const reach = (axis) => placed.reduce(([least, most], t) => [Math.min(least, t[axis]), Math.max(most, t[axis])], [Infinity, -Infinity]);
  const [[left, end], [top, bottom]] = [reach("x"), reach("y")];
  const scale = apart ? Math.min(8, Math.max(1, (end - left) / 1000, (bottom - top) / 600)) : 1;
  const side = Math.ceil(Math.sqrt(thoughts.length));
  const position = (t, n) => (apart && t.x !== null && t.y !== null
    ? { x: t.x, y: t.y }
    : { x: (apart ? right : 0) + (n % side) * 150, y: Math.floor(n / side) * 90 });
  const styles = () => [
    { selector: "node", style: { "background-color": "data(colour)", width: 20 * scale, height: 20 * scale, label: "data(title)", "font-size": 11 * scale, color: named("--ink"), "text-max-width": 130 * scale, "text-wrap": "ellipsis", "text-valign": "bottom", "text-margin-y": 3 * scale, "min-zoomed-font-size": 7, "border-width": scale, "border-color": named("--line") } },
    { selector: "edge", style: { width: 1.2 * scale, "line-color": named("--soft"), opacity: 0.55, "curve-style": "straight", "target-arrow-shape": "triangle", "target-arrow-color": named("--soft"), "arrow-scale": 0.8 * scale } },
    { selector: 'edge[type = "contradicts"]', style: { "line-color": named("--bad"), "target-arrow-color": named("--bad") } },
    { selector: 'edge[type = "supports"]', style: { "line-color": named("--good"), "target-arrow-color": named("--good") } },
    { selector: ".far", style: { opacity: 0.12 } },
    { selector: ".found", style: { "border-width": 4 * scale, "border-color": named("--accent"), "z-index": 9 } },
  ];
  const graph = cytoscape({
    container: map,
    elements: [
      ...thoughts.map((t, n) => ({ data: { id: "t" + t.id, open: t.id, title: t.title, colour: colour(t.color) }, position: position(t, n) })),
      ...links.map((l, n) => ({ data: { id: "l" + n, source: "t" + l.source, target: "t" + l.target, type: l.type } })),
    ],
    layout: { name: "preset", fit: true, padding: 30 },
    minZoom: 0.02, maxZoom: 4, wheelSensitivity: 0.3, hideEdgesOnViewport: links.length > 2000, textureOnViewport: thoughts.length > 1500,
    style: styles(),
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graph.style(styles()));
  graph.autoungrabify(true);
  graph.on("resize", () => graph.fit(undefined, 30));
  const show = (near) => graph.batch(() => { graph.elements().removeClass("far found"); if (near) graph.elements().not(near).addClass("far"); });
  graph.on("tap", "node", (event) => show(event.target.closedNeighborhood()));
  graph.on("tap", (event) => { if (event.target === graph) show(null); });
  graph.on("dbltap", "node", (event) => { location.href = map.dataset.open + encodeURIComponent(event.target.data("open")); });
  const zoom = (factor) => graph.zoom({ level: graph.zoom() * factor, renderedPosition: { x: map.clientWidth / 2, y: map.clientHeight / 2 } });
  document.getElementById("fit").onclick = () => { show(null); graph.fit(undefined, 30); };
  document.getElementById("nearer").onclick = () => zoom(1.4);
  document.getElementById("farther").onclick = () => zoom(1 / 1.4);
  document.getElementById("find").oninput = (event) => {
    const words = event.target.value.trim().toLowerCase();
    show(null);
    if (!words) return;
    const found = graph.nodes().filter((node) => node.data("title").toLowerCase().includes(words));
    found.addClass("found");
    if (found.length) graph.animate({ fit: { eles: found, padding: 60 }, duration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 250 });
  };
  map.dataset.ready = String(thoughts.length);
});
