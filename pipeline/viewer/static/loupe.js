// The viewer: a picture in tiles, another one in register under the left part of it, and ways to look at them.
"use strict";
const loupe = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const ratio = window.devicePixelRatio || 1;
  const dense = Math.max(0, Math.round(Math.log2(ratio))); // tiles are drawn so many times half as large
  const one = -Math.log2(ratio); // zoom at which a pixel of the picture is one of the screen
  const bounds = L.latLngBounds([0, 0], [data.height, data.width]);
  // A place is (row, column) in pixels of the picture, which at zoom 0 has one CSS pixel for each of them.
  const crs = L.extend({}, L.CRS.Simple, { transformation: new L.Transformation(1, 0, 1, 0) });

  const map = L.map("map", {
    crs, attributionControl: false, zoomControl: false, keyboard: false, zoomSnap: 0, wheelPxPerZoomLevel: 100,
    maxZoom: one + 5, bounceAtZoomLimits: false, inertia: !still, zoomAnimation: !still, fadeAnimation: false,
    maxBounds: bounds.pad(0.5),
  });
  const fitZoom = () => map.getBoundsZoom(bounds, false, L.point(24, 24));

  // Tiles of the right and lower edge are small, and each laps a pixel over its neighbors.
  const Tiles = L.TileLayer.extend({
    createTile(at, done) {
      const image = document.createElement("img");
      image.alt = "";
      image.onload = () => {
        image.style.width = `${image.naturalWidth / 2 ** dense}px`;
        image.style.height = `${image.naturalHeight / 2 ** dense}px`;
        done(null, image);
      };
      image.onerror = () => done(new Error("a tile is missing"), image);
      if (at.x > 0) image.style.marginLeft = `${-data.overlap / 2 ** dense}px`;
      if (at.y > 0) image.style.marginTop = `${-data.overlap / 2 ** dense}px`;
      image.src = this.options.source(this._getZoomForUrl(), at);
      return image;
    },
  });
  const layerOf = (picture, pane) => new Tiles("", {
    pane, bounds, noWrap: true, tileSize: data.tile / 2 ** dense, zoomOffset: picture.levels - 1 + dense,
    minNativeZoom: 1 - picture.levels - dense, maxNativeZoom: -dense, minZoom: -40, maxZoom: 40, updateInterval: 60, keepBuffer: 1,
    source: (level, at) => {
      const name = `${level}/${at.x}_${at.y}`;
      return picture.inline ? picture.inline[name] : `${picture.path}/${name}.${picture.extension}`;
    },
  });
  // A page that was copied without its folder has no pictures.
  function tellMissing() {
    if (find("missing")) return;
    const note = document.createElement("p");
    Object.assign(note, { id: "missing", role: "alert" });
    note.textContent = `Pictures are missing: this page needs the folder ${data.folder}, which was written beside it. Move them together.`;
    find("loupe").append(note);
  }
  for (const pane of ["right", "left"]) map.createPane(pane).style.zIndex = pane === "left" ? 250 : 200;
  let shown = layerOf(data.right, "right").addTo(map);
  if (data.folder) shown.on("tileerror", tellMissing);
  // Put other tiles of the same picture over these, which go when those are there.
  function replace(picture) {
    const before = shown;
    shown = layerOf(picture, "right");
    shown.once("load", () => before.remove());
    shown.addTo(map);
  }
  if (data.left) layerOf(data.left, "left").addTo(map);

  // ---------------------------------------------------------------------------------------------------- the divider
  const divider = find("divider");
  let split = data.left ? 0.5 : 0;
  function clip() {
    if (!data.left) return;
    const size = map.getSize();
    const from = map.containerPointToLayerPoint([0, 0]), to = map.containerPointToLayerPoint(size), x = from.x + split * size.x;
    map.getPane("left").style.clipPath = `polygon(${from.x}px ${from.y}px, ${x}px ${from.y}px, ${x}px ${to.y}px, ${from.x}px ${to.y}px)`;
    divider.style.left = `${split * 100}%`;
    divider.setAttribute("aria-valuenow", Math.round(split * 100));
    find("left-label").hidden = split <= 0.02;
    find("right-label").hidden = split >= 0.98;
  }
  function setSplit(share) {
    split = Math.min(1, Math.max(0, share));
    clip();
  }
  if (data.left) {
    const box = find("loupe");
    const follow = (event) => {
      const frame = box.getBoundingClientRect();
      setSplit((event.clientX - frame.left) / frame.width);
    };
    divider.addEventListener("pointerdown", (event) => {
      divider.setPointerCapture(event.pointerId);
      follow(event);
    });
    divider.addEventListener("pointermove", (event) => divider.hasPointerCapture(event.pointerId) && follow(event));
    divider.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.02;
      const less = split - step, more = split + step; // Up and Down, too, as of every slider
      const share = { ArrowLeft: less, ArrowDown: less, ArrowRight: more, ArrowUp: more, Home: 0, End: 1 }[event.key];
      if (share === undefined) return;
      setSplit(share);
      event.preventDefault();
      event.stopPropagation();
    });
  }
  map.on("move zoom resize zoomend moveend viewreset", clip);
  const blink = () => data.left && setSplit(split > 0.5 ? 0 : 1);

  // ------------------------------------------------------------------------------------------------ zoom and measure
  const percent = (zoom) => `${Number((2 ** (zoom - one) * 100).toPrecision(3))} %`;
  const step = (up) => map.setZoom(one + (up ? Math.floor(map.getZoom() - one + 1.001) : Math.ceil(map.getZoom() - one - 1.001)));
  const fit = () => map.setView(bounds.getCenter(), fitZoom());
  const toOne = () => map.setZoom(one);
  const round = (value) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return [5, 2, 1].find((digit) => digit * power <= value) * power;
  };
  function measure() {
    const zoom = map.getZoom();
    find("zoom").textContent = percent(zoom);
    find("map").classList.toggle("enlarged", zoom > one + 0.01);
    const unit = data.dpi ? data.dpi / 25.4 : 1; // pixels in a millimeter on paper, or in a pixel
    const length = Math.max(round(110 / 2 ** zoom / unit), data.dpi ? 0.01 : 1);
    const text = !data.dpi ? `${length} px` : length >= 1000 ? `${length / 1000} m on paper` : `${Number(length.toPrecision(1))} mm on paper`;
    const scale = find("scale");
    scale.firstElementChild.style.width = `${length * unit * 2 ** zoom}px`;
    scale.replaceChildren(text, scale.firstElementChild);
  }
  map.on("zoom zoomend", measure);

  // ------------------------------------------------------------------------------------------------ layers and places
  const lines = (paths, color, weight) => L.polyline(paths, { color, weight, interactive: false, noClip: false });
  const toggles = {}; // by key
  // What lies within an odd number of rings is colored, its name in its heart.
  const areaOf = ({ name, color, rings, heart }) => {
    const label = document.createElement("span");
    label.textContent = name;
    return [
      L.polygon(rings, { color: "#000", weight: 4, fill: false, interactive: false }),
      L.polygon(rings, { color, weight: 2, fillColor: color, fillOpacity: 0.25, interactive: false }),
      L.tooltip({ permanent: true, direction: "center", className: "area" }).setLatLng(heart).setContent(label),
    ];
  };
  function addLayer({ name, key, lines: paths, areas }) {
    const shown = areas.filter(({ heart }) => heart).flatMap(areaOf);
    const layer = L.layerGroup([lines(paths, "#000", 3), lines(paths, "#fff", 1), ...shown]);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.setAttribute("aria-pressed", "false");
    toggles[key] = () => {
      if (map.hasLayer(layer)) layer.remove();
      else layer.addTo(map);
      button.setAttribute("aria-pressed", map.hasLayer(layer));
    };
    button.addEventListener("click", toggles[key]);
    find("zoom").before(button);
  }
  for (const layer of data.layers || []) addLayer(layer);
  let marked = null;
  function mark(seam) {
    if (marked) marked.remove();
    marked = seam && lines([[seam.top, seam.left], [seam.bottom, seam.right]], "#ff7a3d", 2).addTo(map);
    if (marked) marked.getElement().style.strokeDasharray = "3 9";
  }
  const buttons = [];
  function addPlace(title, note, go) {
    const button = document.createElement("button");
    const small = document.createElement("small");
    button.type = "button";
    small.textContent = note;
    button.append(title, small);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      for (const each of buttons) each.setAttribute("aria-pressed", each === button);
      go();
    });
    buttons.push(button);
    find("places").append(button);
  }
  const seams = data.seams || [];
  function show(row, col) {
    map.setView([row, col], one, { animate: false });
    if (data.left) setSplit(0);
  }
  seams.forEach((seam, index) => {
    const chance = seam.threshold === null ? "" : `, chance ${seam.threshold.toFixed(1)}`;
    addPlace(`Seam ${index + 1}`, `score ${seam.score.toFixed(1)}${chance}`, () => {
      mark(seam);
      show((seam.top + seam.bottom) / 2, (seam.left + seam.right) / 2);
    });
  });
  for (const part of data.parts || []) {
    addPlace(part.name, "1:1", () => {
      mark(null);
      show(part.row, part.col);
    });
  }
  let next = 0;
  const nextSeam = () => seams.length && buttons[next++ % seams.length].click();

  // -------------------------------------------------------------------------------------------------- hands and keys
  const click = (id, act) => find(id) && find(id).addEventListener("click", act);
  click("in", () => step(true));
  click("out", () => step(false));
  click("fit", fit);
  click("one", toOne);
  click("blink", blink);
  const acts = { "+": () => step(true), "=": () => step(true), "-": () => step(false), "0": fit, "1": toOne, b: blink, s: nextSeam, ...toggles };
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const move = moves[event.key], act = acts[event.key];
    if (move && document.activeElement === find("map")) map.panBy(L.point(move).multiplyBy(event.shiftKey ? 300 : 80));
    else if (act) act();
    else return;
    event.preventDefault();
  });

  function limit() {
    map.setMinZoom(Math.min(fitZoom(), one) - 1);
  }
  map.on("resize", limit);
  fit();
  limit();
  measure();
  if (data.seams_show && seams.length) buttons[0].click();
  clip();
  return { map, data, setSplit, show, replace };
})();
