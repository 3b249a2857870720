
"use strict";
(() => {
  const tasks = JSON.parse(document.getElementById("numbers").textContent).tasks;
  const at = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const count = (n) => Math.round(n).toLocaleString("en-US");
  const charts = all("svg.chart");
  const place = (element, values) => {
    for (const name in values) element.setAttribute(name, values[name]);
  };

  async function unpack(image) {
    const bytes = Uint8Array.from(atob(image.dataset.packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const svg = await new Response(stream).text();
    image.src = `data:image/svg+xml;utf8,${encodeURIComponent(svg)}`;
    delete image.dataset.packed;
  }
  async function offer(link) {
    const image = link.closest("figure").querySelector("img");
    if (image.dataset.packed) await unpack(image);
    link.href = image.src;
    link.hidden = false;
  }
  all("a.as-svg").forEach(offer);

  const chooser = at("grid-task");
  if (chooser) {
    const grids = all("[data-grid]");
    const choose = () => {
      for (const grid of grids) grid.hidden = grid.dataset.grid !== chooser.value;
    };
    at("choose").hidden = false;
    chooser.addEventListener("change", choose);
    choose();
  }
  if (!tasks.length) return;

  // Three digits are as many as a reading deserves.
  const rough = (n) => {
    const unit = 10 ** Math.max(0, Math.floor(Math.log10(n)) - 2);
    return Math.floor(n / unit + 0.5) * unit;
  };

  // Where a column of a task's curve first reaches a target; null: not by its end.
  function crossing(points, target, column) {
    for (let k = 0; k < points.length; k++) {
      const [n, value] = [points[k][0], points[k][column]];
      if (value < target) continue;
      if (k === 0) return n;
      const [before, below] = [points[k - 1][0], points[k - 1][column]];
      return before * (n / before) ** ((target - below) / (value - below));
    }
    return null;
  }

  function wordsOf(points, target) {
    const [n, low, high] = [1, 3, 2].map((column) => crossing(points, target, column));
    const [first, last] = [points[0][0], points[points.length - 1][0]];
    const words = n === null ? `not reached by ${count(last)}`
      : count(rough(n)) + (n <= first ? " or fewer" : "");
    if (low === null) return { n, words, ends: "whole band below" };
    if (high !== null && high <= first) return { n, words, ends: "" };
    const from = low <= first ? "up" : count(rough(low));
    const to = high === null ? `more than ${count(last)}` : count(rough(high));
    return { n, words, ends: `${from} to ${to}` };
  }

  const scaleOf = (svg) => {
    const pair = (name) => svg.dataset[name].split(" ").map(Number);
    const [[x0, x1], [y0, y1], [n0, n1], [v0, v1]] = ["x", "y", "n", "v"].map(pair);
    return {
      x: (n) => x0 + (Math.log(n / n0) / Math.log(n1 / n0)) * (x1 - x0),
      y: (v) => y0 + ((v - v0) / (v1 - v0)) * (y1 - y0),
      bottom: y0,
    };
  };

  const goal = at("goal");
  const rows = all("#goal-rows tr");

  function update() {
    const target = Number(goal.value);
    const found = tasks.map((task) => wordsOf(task.points, target));
    const met = found.filter((one) => one.n !== null).length;
    at("goal-shown").textContent = target.toFixed(2);
    at("goal-met").textContent = `${met} of ${tasks.length} task${tasks.length > 1 ? "s" : ""}`;
    rows.forEach((row, k) => {
      row.querySelector("b").textContent = found[k].words;
      row.querySelector("td small").textContent = found[k].ends;
    });
    for (const svg of charts) {
      const scale = scaleOf(svg);
      const y = scale.y(target);
      place(svg.querySelector(".goal"), { y1: y, y2: y });
      place(svg.querySelector(".goal-name"), { y });
      svg.querySelector(".goal-name").textContent = `target ${target.toFixed(2)}`;
      for (const dot of svg.querySelectorAll(".met")) {
        const n = found[dot.dataset.task].n;
        place(dot, { visibility: n === null ? "hidden" : "inherit", cy: y });
        if (n !== null) place(dot, { cx: scale.x(n) });
      }
    }
    goal.setAttribute("aria-valuetext", `${target.toFixed(2)}: ${met} of ${tasks.length} reach it`);
  }

  at("goal-control").hidden = false;
  goal.addEventListener("input", update);
  update();

  function light(task) {
    for (const svg of charts) svg.classList.toggle("hot", task !== null);
    for (const element of all("[data-task]")) {
      element.classList.toggle("on", task !== null && Number(element.dataset.task) === task);
    }
  }

  const tip = at("tip");
  const shownAt = new WeakMap();

  function linesOf(task, point) {
    const [n, mean, low, high] = point;
    return [
      task.name, `${count(n)} label${n === 1 ? "" : "s"}: ${task.metric} ${mean.toFixed(3)}`,
      `90\u00a0% interval ${low.toFixed(3)} to ${high.toFixed(3)}`, `layer ${task.layer}`,
    ];
  }

  function read(plot, t, k) {
    const svg = plot.querySelector("svg");
    const scale = scaleOf(svg);
    const point = tasks[t].points[k];
    const [x, y] = [scale.x(point[0]), scale.y(point[1])];
    place(svg.querySelector(".cursor-dot"), { cx: x, cy: y, visibility: "inherit" });
    light(t);
    tip.replaceChildren();
    linesOf(tasks[t], point).forEach((words, line) => {
      const row = document.createElement(line ? "div" : "b");
      row.textContent = words;
      tip.append(row);
    });
    tip.hidden = false;
    const ratio = svg.clientWidth / svg.viewBox.baseVal.width;
    const beside = x * ratio + 14;
    const fits = beside + tip.offsetWidth <= svg.clientWidth;
    tip.style.left = `${fits ? beside : Math.max(0, x * ratio - 14 - tip.offsetWidth)}px`;
    const above = y * ratio - tip.offsetHeight - 10;
    tip.style.top = `${above >= 0 ? above : y * ratio + 14}px`;
    shownAt.set(plot, [t, k]);
    place(plot, { "aria-valuenow": k, "aria-valuetext": linesOf(tasks[t], point).join(", ") });
  }

  function leave(plot) {
    tip.hidden = true;
    light(null);
    place(plot.querySelector(".cursor-dot"), { visibility: "hidden" });
  }

  function nearest(plot, event) {
    const svg = plot.querySelector("svg");
    const box = svg.getBoundingClientRect();
    const scale = scaleOf(svg);
    const ratio = svg.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    let best = [Infinity, 0, 0];
    tasks.forEach((task, t) => task.points.forEach((point, k) => {
      const far = Math.hypot(scale.x(point[0]) - x, scale.y(point[1]) - y);
      if (far < best[0]) best = [far, t, k];
    }));
    return best.slice(1);
  }

  const plots = all(".plot");
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".plot, #goal-rows")) plots.forEach(leave);
  });
  const moves = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  for (const plot of plots) {
    shownAt.set(plot, [0, 0]);
    place(plot, {
      role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuenow": 0,
      "aria-valuemax": tasks[0].points.length - 1,
      "aria-label": "Read the curves: left and right by labels, up and down by task",
    });
    plot.addEventListener("pointermove", (event) => read(plot, ...nearest(plot, event)));
    plot.addEventListener("pointerdown", (event) => read(plot, ...nearest(plot, event)));
    plot.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") leave(plot);  // a finger leaves, its reading stays
    });
    plot.addEventListener("focus", () => {
      if (plot.matches(":focus-visible")) read(plot, ...shownAt.get(plot));
    });
    plot.addEventListener("blur", () => leave(plot));
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Escape") leave(plot);
      if (!(event.key in moves)) return;
      event.preventDefault();
      const [t, k] = shownAt.get(plot).map((value, axis) => value + moves[event.key][axis]);
      const task = Math.min(Math.max(t, 0), tasks.length - 1);
      read(plot, task, Math.min(Math.max(k, 0), tasks[task].points.length - 1));
    });
  }
  rows.forEach((row, k) => {
    row.addEventListener("pointerenter", () => light(k));
    row.addEventListener("pointerleave", () => light(null));
  });
})();
