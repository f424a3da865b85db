// A painting under way: told by the server, once a second at most.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const ready = document.body.classList.contains("loupe");
  const spell = (seconds) => seconds === null ? "" : seconds < 60 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  const send = (what) => fetch(data.base + what, { method: "POST" });
  const fill = (id, texts, link) => {
    const items = texts.map((text) => {
      const item = document.createElement("li");
      item.append(link ? link(text) : text);
      return item;
    });
    find(id).replaceChildren(...items);
  };
  let version = ready ? Number(data.right.path.split("/").pop()) : 0, rows = 0, level = 0;

  function tellPicture(picture) {
    level = picture.level;
    const share = Math.min(100, picture.share * 100);
    find("share").firstElementChild.style.width = `${share}%`;
    find("share").setAttribute("aria-valuenow", Math.round(share));
    const left = picture.left.every((each) => each === null) ? null : picture.left.reduce((sum, each) => sum + (each || 0), 0);
    if (ready) find("left").textContent = `${share.toFixed(1)} % painted` + (left === null ? "" : `, about ${spell(left)} left`);
    [...find("level-rows").children].forEach((row, index) => {
      row.className = index === level ? "now" : "";
      row.lastElementChild.textContent = index < level ? "done" : spell(picture.left[index]);
    });
    find("leave").disabled = picture.leaving;
    find("leave").textContent = picture.leaving ? "Finishing this level" : "Finish this level now";
    if (picture.version > 0 && !ready) location.reload();
    if (picture.version > version && ready) {
      version = picture.version;
      loupe.replace({ ...data.right, path: `${data.base}tile/${data.number}/${version}` });
    }
    if (picture.rows !== rows) {
      rows = picture.rows;
      fetch(`${data.base}losses/${data.number}`).then((answer) => answer.ok && answer.json()).then((found) => found && draw(found));
    }
  }
  function draw(found) {
    const names = [...new Set(["total", ...found.flatMap(Object.keys)])].filter((name) => !["seconds", "level", "step"].includes(name) && found.some((row) => row[name] > 0));
    const marks = found.filter((row, index) => index && row.level !== found[index - 1].level).map((row) => row.seconds);
    chart(find("chart"), found, names, marks);
  }
  function tell(state) {
    find("connection").textContent = "";
    if (state.picture) tellPicture(state.picture);
    else if (state.queue.length) location.replace(data.base); // this one has ended, another is under way
    fill("worker-rows", state.workers.map((worker) => `${worker.name}: ${worker.work || "waits"}`));
    const notices = state.notices.map((text) => {
      const notice = document.createElement("p");
      notice.className = "notice";
      notice.textContent = text;
      return notice;
    });
    find("notices").replaceChildren(...notices);
    find("stop").disabled = state.stopping;
    find("stop").textContent = state.stopping ? "Stopping after this round" : "Stop after this round";
    if (!find("counts")) return;
    const counts = Object.entries(state.results).map(([status, number]) => `${number} ${status}`);
    find("counts").textContent = [...counts, `${state.queue.length} under way`, `${state.waiting} waiting`].join(" · ");
    fill("pictures-under-way", state.queue, (picture) => {
      const link = document.createElement("a");
      link.href = `${data.base}picture/${picture.number}`;
      link.textContent = `${picture.name}, ${Math.round(picture.share * 100)} %`;
      return link;
    });
  }
  find("leave").addEventListener("click", () => send(`leave/${data.number}/${level}`));
  find("stop").addEventListener("click", () => send("stop"));
  const events = new EventSource(`${data.base}events/${data.number}`);
  events.addEventListener("message", (event) => tell(JSON.parse(event.data)));
  events.addEventListener("error", () => { // the browser tries again, unless it was refused
    find("connection").textContent = "No connection to the command. It may have ended; if it was started anew, open the address that it prints.";
    for (const id of ["leave", "stop"]) find(id).disabled = true;
  });
  events.addEventListener("end", (event) => {
    events.close();
    find("left").textContent = "";
    find("connection").textContent = JSON.parse(event.data).outcome;
    for (const id of ["leave", "stop"]) find(id).hidden = true;
    for (const link of document.querySelectorAll("#pictures-under-way a")) link.replaceWith(link.textContent); // to nobody
    for (const cell of document.querySelectorAll("#level-rows td:last-child")) if (cell.textContent !== "done") cell.textContent = "";
  });
  draw([]);
})();
