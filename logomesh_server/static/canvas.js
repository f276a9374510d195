// The canvas of a space: thoughts at their stored positions, in their stored colours, linked by their segments.
"use strict";
addEventListener("DOMContentLoaded", async () => {
  const map = document.getElementById("map");
  const note = document.getElementById("map-note");
  const answer = await fetch(map.dataset.source, { headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer?.ok) {
    note.setAttribute("role", "alert");
    note.className = "note error";
    note.textContent = map.dataset.failed;
    map.dataset.waiting = "";
    return;
  }
  const { thoughts, links, limited } = await answer.json();
  if (limited) note.textContent = `${note.dataset.limited} ${note.textContent}`;
  const ink = getComputedStyle(document.documentElement);
  const named = (name) => ink.getPropertyValue(name).trim();
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  // A colour is free text in LogoMesh: what the browser does not know is shown in grey. Cytoscape knows fewer ways to
  // write one than the browser, so that paints it and reads what came of it.
  const painter = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const painted = new Map();
  const colour = (text) => {
    if (!text || !CSS.supports("color", text)) return "#6b7280";
    if (!painted.has(text)) {
      painter.clearRect(0, 0, 1, 1);
      painter.fillStyle = text;
      painter.fillRect(0, 0, 1, 1);
      painted.set(text, `rgb(${[...painter.getImageData(0, 0, 1, 1).data.slice(0, 3)]})`);
    }
    return painted.get(text);
  };
  // What has no position of its own, or one so far out that all others would be a dot, is laid in rows beside them.
  const near = (axis) => {
    const values = thoughts.map((t) => t[axis]).filter((value) => value !== null && Math.abs(value) < 1e7).sort((a, b) => a - b);
    const [low, high] = [0.25, 0.75].map((part) => values[Math.round(part * (values.length - 1))]);
    const room = 20 * (high - low) + 10000;
    return (value) => value !== null && value >= low - room && value <= high + room;
  };
  const [nearX, nearY] = [near("x"), near("y")];
  const hasPlace = (t) => nearX(t.x) && nearY(t.y);
  const placed = thoughts.filter(hasPlace);
  const astray = thoughts.filter((t) => t.x !== null && t.y !== null && !hasPlace(t)).length;
  if (astray) note.textContent = `${note.dataset.astray.replace("{n}", astray)} ${note.textContent}`;
  const right = placed.reduce((most, t) => Math.max(most, t.x), 0) + 200;
  const apart = placed.length > 0 && new Set(placed.map((t) => `${t.x} ${t.y}`)).size > placed.length / 2;
  // Canvases reach from a handful of pixels to many thousands: marks and lines grow with them, words stay as large.
  const reach = (axis) => placed.reduce(([least, most], t) => [Math.min(least, t[axis]), Math.max(most, t[axis])], [Infinity, -Infinity]);
  const [[left, end], [top, bottom]] = [reach("x"), reach("y")];
  const crowd = Math.min(3, Math.max(1, Math.sqrt(thoughts.length / 300)));
  const scale = apart ? Math.max(1, (end - left) / 1000, (bottom - top) / 600) / crowd : 1;
  const loose = new Map(thoughts.filter((t) => !(apart && hasPlace(t))).map((t, n) => [t, n]));
  const side = Math.ceil(Math.sqrt(loose.size));
  const position = (t) => {
    const n = loose.get(t);
    if (n === undefined) return { x: t.x, y: t.y };
    return { x: (apart ? right : 0) + (n % side) * 150, y: (apart ? top : 0) + Math.floor(n / side) * 90 };
  };
  // Each kind of link has a colour; the three that LogoMesh names have their own.
  const kinds = [...new Set(links.map((l) => l.type))].sort();
  const own = { supports: "--good", contradicts: "--bad", related: "--soft" };
  const others = ["--accent", "--warn"];
  const line = (type) => named(own[type] || others[kinds.filter((k) => !own[k]).indexOf(type) % others.length]);
  const WORDS = 12; // pixels on the screen, whatever the zoom
  const WIDEST = 150;
  // Cytoscape makes an arrow as large as this for a line of a width.
  const arrowOf = (width) => Math.max((width * 13.37) ** 0.9, 29);
  const styles = (zoom) => [
    { selector: "node", style: { "background-color": "data(colour)", width: 20 * scale, height: 20 * scale, "border-width": scale, "border-color": named("--line") } },
    { selector: ".named", style: { label: "data(title)", "font-size": WORDS / zoom, color: named("--ink"), "text-max-width": WIDEST / zoom, "text-wrap": "ellipsis", "text-valign": "bottom", "text-margin-y": 3 / zoom, "text-background-color": named("--card"), "text-background-opacity": 0.8, "text-background-padding": 1 / zoom, "z-index": 5 } },
    { selector: "edge", style: { width: 1.2 * scale, opacity: 0.55, "curve-style": "straight", "target-arrow-shape": "triangle", "arrow-scale": (9 * scale) / arrowOf(1.2 * scale) } },
    ...kinds.map((type) => ({ selector: `edge[kind = ${kinds.indexOf(type)}]`, style: { "line-color": line(type), "target-arrow-color": line(type), "line-style": own[type] ? "solid" : "dashed" } })),
    { selector: ".off", style: { display: "none" } },
    { selector: ".far", style: { opacity: 0.1 } },
    { selector: ".found", style: { "border-width": 4 * scale, "border-color": named("--accent"), "z-index": 9 } },
  ];
  const graph = cytoscape({
    container: map,
    elements: [
      ...thoughts.map((t) => ({ data: { id: "t" + t.id, open: t.id, title: t.title, colour: colour(t.color) }, position: position(t) })),
      ...links.map((l, n) => ({ data: { id: "l" + n, source: "t" + l.source, target: "t" + l.target, kind: kinds.indexOf(l.type) } })),
    ],
    layout: { name: "preset", fit: true, padding: 30 },
    minZoom: 0.002, maxZoom: 4, hideEdgesOnViewport: links.length > 2000, textureOnViewport: thoughts.length > 1500,
    style: styles(1),
  });
  graph.autoungrabify(true);
  // Words never cover words: where two would, the thought that is looked at or has more links keeps its own.
  const linked = new Map();
  for (const { source, target } of links) for (const id of [source, target]) linked.set(id, (linked.get(id) || 0) + 1);
  const weight = (node) => linked.get(node.data("open")) || 0;
  const byLinks = graph.nodes().toArray().sort((a, b) => weight(b) - weight(a));
  const space = ({ x, y }, title, radius) => {
    const half = Math.min(WIDEST, title.length * WORDS * 0.56) / 2 + 2;
    return [x - half, y + radius, x + half, y + radius + WORDS * 1.6];
  };
  const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
  let waits = null;
  const name = () => {
    const [width, height, radius] = [map.clientWidth, map.clientHeight, 10 * scale * graph.zoom()];
    const looked = byLinks.filter((node) => node.hasClass("found"));
    const taken = [];
    const named = new Set();
    for (const node of [...looked, ...byLinks]) {
      const at = node.renderedPosition();
      if (named.has(node) || node.hasClass("far") || at.x < 0 || at.y < 0 || at.x > width || at.y > height) continue;
      const box = space(at, node.data("title"), radius);
      const whole = box[0] >= 0 && box[2] <= width && box[3] <= height;
      if (!whole && !node.hasClass("found") || taken.some((other) => overlap(box, other))) continue;
      taken.push(box);
      named.add(node);
    }
    graph.batch(() => byLinks.forEach((node) => node.toggleClass("named", named.has(node))));
    graph.style(styles(graph.zoom()));
  };
  const settle = () => { clearTimeout(waits); waits = setTimeout(name, 80); };
  graph.on("viewport", settle);
  name();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { name(); legend(); });
  graph.on("resize", () => graph.fit(undefined, 30));

  // One thought and its neighbours
  const chosen = document.getElementById("chosen");
  const show = (near) => { graph.batch(() => { graph.elements().removeClass("far found"); if (near) graph.elements().not(near).addClass("far"); }); settle(); };
  const choose = (node) => {
    if (!node) { show(null); chosen.hidden = true; return; }
    show(node.closedNeighborhood(":visible"));
    node.addClass("found");
    const id = encodeURIComponent(node.data("open"));
    chosen.hidden = false;
    chosen.querySelector("h2").textContent = node.data("title");
    chosen.querySelector("p").textContent = map.dataset.neighbours.replace("{n}", node.neighborhood("node").length);
    chosen.querySelector("[data-to=open]").href = map.dataset.open + id;
    chosen.querySelector("[data-to=near]").href = map.dataset.near + id;
  };
  graph.on("tap", "node", (event) => choose(event.target));
  graph.on("tap", (event) => { if (event.target === graph) choose(null); });
  graph.on("dbltap", "node", (event) => { location.href = map.dataset.open + encodeURIComponent(event.target.data("open")); });
  if (map.dataset.middle) { const node = graph.getElementById("t" + map.dataset.middle); if (node.length) choose(node); }

  // Kinds of links, to look at or to leave out
  const hidden = new Set();
  const legend = () => {
    const counts = kinds.map((type) => links.filter((l) => l.type === type).length);
    document.getElementById("legend").replaceChildren(...kinds.slice(0, 12).map((type, n) => {
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(n) });
      box.addEventListener("change", () => {
        hidden[box.checked ? "delete" : "add"](n);
        graph.edges(`[kind = ${n}]`).toggleClass("off", !box.checked);
      });
      const mark = document.createElement("span");
      mark.className = "line";
      mark.style.background = line(type);
      label.append(box, mark, `${type} ${counts[n]}`);
      return label;
    }));
  };
  legend();

  // Nearer, farther, about
  const zoom = (factor) => graph.zoom({ level: graph.zoom() * factor, renderedPosition: { x: map.clientWidth / 2, y: map.clientHeight / 2 } });
  const fit = () => { choose(null); graph.fit(undefined, 30); };
  document.getElementById("fit").onclick = fit;
  document.getElementById("nearer").onclick = () => zoom(1.4);
  document.getElementById("farther").onclick = () => zoom(1 / 1.4);
  const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
  map.addEventListener("keydown", (event) => {
    if (steps[event.key]) graph.panBy({ x: steps[event.key][0], y: steps[event.key][1] });
    else if (event.key === "+" || event.key === "=") zoom(1.4);
    else if (event.key === "-") zoom(1 / 1.4);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
  });
  // What is typed is found among what is drawn; Enter asks the server for all that match.
  document.getElementById("find").addEventListener("input", (event) => {
    const words = event.target.value.trim().toLowerCase();
    show(null);
    if (!words) return;
    const found = graph.nodes().filter((node) => node.data("title").toLowerCase().includes(words));
    found.addClass("found");
    if (found.length) graph.animate({ fit: { eles: found, padding: 60 }, duration: still ? 0 : 250 });
  });
  map.dataset.ready = String(thoughts.length);
});
