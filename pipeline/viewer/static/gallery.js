// All pictures of a batch, sixty at a time.
"use strict";
(() => {
  const { rows } = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const AT_ONCE = 60;
  const words = { done: "painted", skipped: "painted before", copied: "copied", failed: "failed", left: "left for the next run", unsupported: "not supported" };
  const rank = (row) => ["failed", "left", "unsupported"].indexOf(row.status) + 1 || 9;
  const excess = (row) => (row.seam_threshold ? row.seam_score / row.seam_threshold : 0);
  const high = (key) => (a, b) => (b[key] ?? -1) - (a[key] ?? -1);
  const orders = {
    failures: (a, b) => rank(a) - rank(b), name: (a, b) => a.name.localeCompare(b.name), seams: (a, b) => excess(b) - excess(a),
    style_loss: high("style_loss"), content_loss: high("content_loss"), seconds: high("seconds"),
  };
  const make = (kind, name, text) => {
    const node = document.createElement(kind);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const spent = (seconds) => (seconds < 60 ? `${Math.round(seconds)} s` : seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);

  function card(row) {
    const item = make("li", row.status), frame = make(row.page ? "a" : "div", "frame");
    if (row.page) frame.href = row.page;
    if (row.thumbnail) {
      const image = make("img");
      Object.assign(image, { src: row.thumbnail, alt: "", loading: "lazy", decoding: "async" });
      frame.append(image);
    } else frame.hidden = true;
    const text = make("div", "text"), name = make("b", "", row.name);
    if (row.page) {
      const link = make("a", "", row.name);
      link.href = row.page;
      name.replaceChildren(link);
      frame.tabIndex = -1;
      frame.setAttribute("aria-hidden", "true");
    }
    text.append(name);
    const facts = [];
    if (row.status !== "done") facts.push(words[row.status]);
    if (row.width) facts.push(`${row.width} x ${row.height} px`);
    if (row.seconds) facts.push(spent(row.seconds));
    text.append(make("p", "note", facts.join(" · ")));
    if (row.reason && row.status !== "skipped") text.append(make("p", "reason", row.reason));
    if (row.seam_score !== undefined) {
      const visible = excess(row) > 1;
      const losses = [["style", row.style_loss], ["content", row.content_loss]].filter((each) => each[1] !== undefined);
      text.append(make("p", visible ? "note bad" : "note", `seam score ${row.seam_score.toFixed(2)}${visible ? ", visible" : ""}`));
      if (losses.length) text.append(make("p", "note", losses.map(([name, loss]) => `${name} ${loss.toPrecision(2)}`).join(" · ")));
    }
    if (row.command) {
      const button = make("button", "copy", "Copy the command");
      button.type = "button";
      button.dataset.copy = row.command;
      button.setAttribute("aria-label", `Copy the command for ${row.name}`);
      text.append(button);
    }
    item.append(frame, text);
    return item;
  }

  let page = 0, shown = rows;
  function draw() {
    const last = Math.max(0, Math.ceil(shown.length / AT_ONCE) - 1);
    page = Math.min(Math.max(page, 0), last);
    find("pictures").replaceChildren(...shown.slice(page * AT_ONCE, (page + 1) * AT_ONCE).map(card));
    find("page").textContent = `Page ${page + 1} of ${last + 1}`;
    find("before").disabled = page === 0;
    find("after").disabled = page === last;
    find("before").parentElement.hidden = last === 0;
    find("found").textContent = shown.length === rows.length ? `${rows.length} picture${rows.length === 1 ? "" : "s"}` : `${shown.length} of ${rows.length} pictures`;
  }
  function choose() {
    const text = find("search").value.trim().toLowerCase(), status = find("status").value;
    shown = rows
      .filter((row) => (!status || row.status === status) && (!text || `${row.name}\n${row.input}\n${row.reason || ""}`.toLowerCase().includes(text)))
      .sort(orders[find("sort").value]);
    page = 0;
    draw();
  }
  const turn = (by) => {
    page += by;
    draw();
    scrollTo(0, 0);
  };
  for (const status of new Set(rows.map((row) => row.status))) {
    const option = make("option", "", words[status]);
    option.value = status;
    find("status").append(option);
  }
  for (const id of ["search", "status", "sort"]) find(id).addEventListener("input", choose);
  document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  find("before").addEventListener("click", () => turn(-1));
  find("after").addEventListener("click", () => turn(1));
  choose();
})();
