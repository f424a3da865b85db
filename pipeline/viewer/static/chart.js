// Curves on a logarithmic axis over time: `chart(host, rows, names, marks)`. Rows have `seconds` and a value by name.
"use strict";
function chart(host, rows, names, marks = []) {
  const width = 360, height = 210, left = 44, right = 4, top = 8, bottom = 24;
  const make = (kind, facts, parent) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(facts)) node.setAttribute(name, value);
    if (parent) parent.append(node);
    return node;
  };
  const write = (x, y, text, anchor, parent) => (make("text", { x, y, "text-anchor": anchor }, parent).textContent = text);
  const values = rows.flatMap((row) => names.map((name) => row[name])).filter((value) => value > 0);
  if (rows.length < 2 || !values.length) {
    host.textContent = "Nothing to draw yet.";
    return;
  }
  const low = Math.floor(Math.log10(Math.min(...values)) * 2) / 2, high = Math.ceil(Math.log10(Math.max(...values)) * 2 + 1e-9) / 2;
  const end = rows[rows.length - 1].seconds || 1;
  const x = (seconds) => left + (seconds / end) * (width - left - right);
  const y = (value) => top + ((high - Math.log10(value)) / (high - low || 1)) * (height - top - bottom);
  const spell = (seconds) => seconds < 120 ? `${Math.round(seconds)} s` : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  const last = rows[rows.length - 1];
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.setAttribute("aria-label", `Losses over ${spell(end)}: ` + names.map((name) => `${name} ends at ${last[name] > 0 ? last[name].toPrecision(3) : "nothing"}`).join(", "));
  for (let power = Math.ceil(low); power <= high; power++) {
    make("line", { class: "axis", x1: left, x2: width - right, y1: y(10 ** power), y2: y(10 ** power) }, svg);
    write(left - 6, y(10 ** power) + 4, power < -3 || power > 4 ? `1e${power}` : String(10 ** power), "end", svg);
  }
  for (const mark of marks) make("line", { class: "mark", x1: x(mark), x2: x(mark), y1: top, y2: height - bottom }, svg);
  write(left, height - 6, "0", "start", svg);
  write(width - right, height - 6, spell(end), "end", svg);
  for (const name of names) {
    let path = "", level = null;
    for (const row of rows) {
      const drawn = row[name] > 0;
      if (drawn) path += `${row.level === level ? "L" : "M"}${x(row.seconds).toFixed(1)} ${y(row[name]).toFixed(1)}`;
      level = drawn ? row.level : null; // a logarithmic axis has no place for nothing
    }
    make("path", { class: name, d: path }, svg);
  }
  const cursor = make("line", { class: "mark", y1: top, y2: height - bottom, visibility: "hidden" }, svg);
  const legend = document.createElement("ul");
  const cells = names.map((name) => {
    const item = document.createElement("li"), text = document.createElement("span");
    const sample = make("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" }, item);
    make("path", { class: name, d: "M0 5H26" }, sample);
    item.append(text);
    legend.append(item);
    return text;
  });
  const tell = (row) => names.forEach((name, i) => (cells[i].textContent = `${name} ${row[name] > 0 ? row[name].toPrecision(3) : "–"}`));
  svg.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect();
    const seconds = (((event.clientX - frame.left) / frame.width) * width - left) / (width - left - right) * end;
    const row = rows.reduce((best, each) => (Math.abs(each.seconds - seconds) < Math.abs(best.seconds - seconds) ? each : best));
    cursor.setAttribute("x1", x(row.seconds));
    cursor.setAttribute("x2", x(row.seconds));
    cursor.setAttribute("visibility", "visible");
    tell(row);
  });
  svg.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    tell(last);
  });
  tell(last);
  host.replaceChildren(svg, legend);
}
