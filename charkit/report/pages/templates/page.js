
"use strict";
(() => {
  // One curve: an answer, with its need and what was measured. Several: the tasks of a run.
  const { curves = [], n: available, need: asked, observed = [] } =
    JSON.parse(document.getElementById("numbers").textContent);
  const run = document.body.classList.contains("run");
  const at = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const count = (n) => Math.round(n).toLocaleString("en-US");
  const labels = (n) => count(n) + (Math.round(n) === 1 ? " label" : " labels");
  const place = (element, values) => {
    for (const name in values) element.setAttribute(name, values[name]);
  };
  const show = (element, on) => place(element, { visibility: on ? "inherit" : "hidden" });

  // Figures that were packed for want of room, and their links.
  async function offer(link) {
    const image = link.closest("figure").querySelector("img");
    if (image.dataset.packed) {
      const bytes = Uint8Array.from(atob(image.dataset.packed), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      const svg = await new Response(stream).text();
      image.src = `data:image/svg+xml;utf8,${encodeURIComponent(svg)}`;
      delete image.dataset.packed;
    }
    link.href = image.src;
    link.hidden = false;
  }
  all("a.as-svg").forEach(offer);

  const chooser = at("grid-task");
  if (chooser) {
    const choose = () => {
      for (const grid of all("[data-grid]")) grid.hidden = grid.dataset.grid !== chooser.value;
    };
    at("choose").hidden = false;
    chooser.addEventListener("change", choose);
    choose();
  }

  // Three digits are as many as a reading deserves.
  const rough = (n) => {
    if (n === null) return null;
    const unit = 10 ** Math.max(0, Math.floor(Math.log10(n)) - 2);
    return Math.round(n / unit) * unit;
  };

  // Where a column of a curve first reaches a target; null: not by its end.
  function crossing(points, target, column) {
    const rows = points.filter((row) => row[column] !== null);
    for (let k = 0; k < rows.length; k++) {
      const [n, value] = [rows[k][0], rows[k][column]];
      if (value < target) continue;
      if (k === 0) return n;
      const [before, below] = [rows[k - 1][0], rows[k - 1][column]];
      return before * (n / before) ** ((target - below) / (value - below));
    }
    return null;
  }

  // n: expected; low: the band's upper end reaches it; high: its lower end does.
  function reach(points, target) {
    const [n, low, high] = [1, 3, 2].map((column) => crossing(points, target, column));
    return { n, low, high, first: points[0][0], last: points[points.length - 1][0] };
  }

  const wordsOf = ({ n, first, last }) =>
    n === null ? `not reached by ${count(last)}`
      : (run ? count(rough(n)) : labels(rough(n))) + (n <= first ? " or fewer" : "");

  function endsOf({ low, high, first, last }, below) {
    if (low === null) return below;
    if (high !== null && high <= first) return "";
    const from = low <= first ? "up" : count(rough(low));
    return `${from} to ${high === null ? `more than ${count(last)}` : count(rough(high))}`;
  }

  function moreWords(n) {
    if (n === null || !available || n <= available) return "";
    const times = n / available;
    const ratio = times.toFixed(times < 10 ? 1 : 0);
    return `${count(n - available)} more than you have (${ratio}\u00a0×)`;
  }

  const charts = all(".plot svg");
  const scaleOf = (svg) => {
    const pair = (name) => svg.dataset[name].split(" ").map(Number);
    const [[x0, x1], [y0, y1], [n0, n1], [v0, v1]] = ["x", "y", "n", "v"].map(pair);
    const inside = (n) => Math.min(Math.max(n, n0), n1);
    return {
      x: (n) => x0 + (Math.log(inside(n) / n0) / Math.log(n1 / n0)) * (x1 - x0),
      y: (v) => y0 + ((v - v0) / (v1 - v0)) * (y1 - y0),
      right: x1, bottom: y0,
    };
  };

  function drawTarget(svg, target, found) {
    const scale = scaleOf(svg);
    const part = (name) => svg.querySelector(name);
    const y = scale.y(target);
    place(part(".goal"), { y1: y, y2: y });
    place(part(".goal-name"), { y: y - 7 });
    part(".goal-name").textContent = `target ${target.toFixed(run ? 2 : 3)}`;
    for (const dot of svg.querySelectorAll(".met")) {
      const n = found[dot.dataset.task].n;
      place(dot, { cx: n === null ? 0 : scale.x(n), cy: y });
      show(dot, n !== null);
    }
    if (run) return;
    const { n, low, high } = found[0];
    const x = n === null ? 0 : scale.x(n);
    const [left, right] = [low === null ? 0 : scale.x(low), high === null ? scale.right : scale.x(high)];
    place(part(".target"), { visibility: "visible" });
    place(part(".needed-span"), { x1: left, x2: right, y1: y, y2: y });
    place(part(".needed-drop"), { x1: x, x2: x, y1: y, y2: scale.bottom });
    place(part(".needed"), { cx: x, cy: y });
    show(part(".needed-span"), low !== null);
    show(part(".needed-drop"), n !== null);
    show(part(".needed"), n !== null);
  }

  const goal = at("goal");
  const rows = all("#goal-rows tr");

  // The tasks of a run: a row each. Returns the slider's text.
  function showRows(found) {
    const met = found.filter((one) => one.n !== null).length;
    at("goal-met").textContent = `${met} of ${curves.length} task${curves.length > 1 ? "s" : ""}`;
    rows.forEach((row, k) => {
      row.querySelector("b").textContent = wordsOf(found[k]);
      row.querySelector("td small").textContent = endsOf(found[k], "whole band below");
    });
    return `${met} of ${curves.length} reach it`;
  }

  // An answer: its own words at the target that was asked for.
  const given = run || !goal ? [] : [at("goal-needed").textContent, at("goal-ends").textContent];
  const banded = curves.some((curve) => curve.points.some((row) => row[2] !== null && row[3] !== null));
  function showNeed(found, isAsked) {
    const ends = endsOf(found, "Even the upper end of the band stays below it");
    const interval = found.low === null || !ends ? ends : `90\u00a0% interval ${ends}`;
    const [words, more] = isAsked ? given : [wordsOf(found), banded ? interval : ""];
    at("goal-needed").textContent = words;
    at("goal-ends").textContent = more;
    at("goal-more").textContent = moreWords(isAsked ? found.n : rough(found.n));
    return words;
  }

  function update() {
    const target = Number(goal.value);
    const isAsked = Boolean(asked) && Math.abs(asked[0] - target) < 6e-5;
    const found = curves.map((curve) => reach(curve.points, target));
    if (isAsked) [found[0].n, found[0].low, found[0].high] = asked.slice(1);
    const shown = target.toFixed(run ? 2 : 3);
    at("goal-shown").textContent = shown;
    const words = run ? showRows(found) : showNeed(found[0], isAsked);
    goal.setAttribute("aria-valuetext", `${shown}: ${words}`);
    for (const svg of charts) drawTarget(svg, target, found);
  }
  if (goal) {
    if (!run) at("goal-card").hidden = false;
    at("goal-control").hidden = false;
    goal.addEventListener("input", update);
    update();
  }

  // What can be read off the chart: the points of each curve, and those measured below its start.
  const measured = new Map(observed);
  const stops = curves.map(({ points }) => {
    const found = points.map(([n, mean, low, high]) => ({ n, mean, low, high }));
    for (const [n, mean] of observed) {
      if (!found.some((stop) => stop.n === n)) found.push({ n, mean, measured: true });
    }
    return found.sort((a, b) => a.n - b.n);
  });

  const intervalOf = ({ low, high }) =>
    typeof low === "number" && typeof high === "number"
      ? [`90\u00a0% interval ${low.toFixed(3)} to ${high.toFixed(3)}`] : [];

  // The first line is the head of what is shown under the pointer.
  function linesOf(t, stop) {
    const value = stop.mean.toFixed(3);
    if (run) {
      const { name, metric, layer } = curves[t];
      return [name, `${labels(stop.n)}: ${metric} ${value}`, ...intervalOf(stop), `layer ${layer}`];
    }
    if (stop.measured) return [labels(stop.n), `measured ${value}`];
    const own = measured.has(stop.n) ? [`measured ${measured.get(stop.n).toFixed(3)}`] : [];
    return [labels(stop.n), `accuracy ${value}`, ...intervalOf(stop), ...own];
  }

  function spoken(t, stop) {
    const [head, ...rest] = linesOf(t, stop);
    return run ? [head, ...rest].join(", ") : `${head}: ${rest.join(", ")}`;
  }

  function light(task) {
    if (!run) return;
    for (const svg of charts) svg.classList.toggle("hot", task !== null);
    for (const element of all("[data-task]")) {
      element.classList.toggle("on", task !== null && Number(element.dataset.task) === task);
    }
  }

  const tip = at("tip");
  const shownAt = new WeakMap();

  function read(plot, t, k) {
    const svg = plot.querySelector("svg");
    const scale = scaleOf(svg);
    const stop = stops[t][k];
    const [x, y] = [scale.x(stop.n), scale.y(stop.mean)];
    const line = svg.querySelector(".cursor");
    if (line) {
      place(line, { x1: x, x2: x });
      show(line, true);
    }
    place(svg.querySelector(".cursor-dot"), { cx: x, cy: y, visibility: "inherit" });
    light(t);
    tip.replaceChildren(...linesOf(t, stop).map((words, at) => {
      const row = document.createElement(at ? "div" : "b");
      row.textContent = words;
      return row;
    }));
    tip.hidden = false;
    const ratio = svg.clientWidth / svg.viewBox.baseVal.width;
    const right = x * ratio + 14;
    const fits = right + tip.offsetWidth <= svg.clientWidth;
    tip.style.left = `${fits ? right : Math.max(0, x * ratio - 14 - tip.offsetWidth)}px`;
    const above = y * ratio - tip.offsetHeight - 10;
    const below = scale.bottom * ratio - tip.offsetHeight - 6;  // of the only curve
    tip.style.top = `${!run ? below : above >= 0 ? above : y * ratio + 14}px`;
    shownAt.set(plot, [t, k]);
    place(plot, { "aria-valuenow": k, "aria-valuetext": spoken(t, stop) });
  }

  function leave(plot) {
    tip.hidden = true;
    light(null);
    for (const part of plot.querySelectorAll(".cursor, .cursor-dot")) show(part, false);
  }

  // The nearest point of a run, the nearest size of an answer.
  function nearest(plot, event) {
    const svg = plot.querySelector("svg");
    const box = svg.getBoundingClientRect();
    const scale = scaleOf(svg);
    const ratio = svg.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
    let best = [Infinity, 0, 0];
    stops.forEach((own, t) => own.forEach((stop, k) => {
      const far = Math.hypot(scale.x(stop.n) - x, run ? scale.y(stop.mean) - y : 0);
      if (far < best[0]) best = [far, t, k];
    }));
    return best.slice(1);
  }

  const plots = all(".plot");
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".plot, #goal-rows")) plots.forEach(leave);
  });
  const most = Math.max(0, ...stops.map((own) => own.length - 1));
  const moves = {
    ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: run ? [-1, 0] : [0, 1],
    ArrowDown: run ? [1, 0] : [0, -1], PageUp: [0, 10], PageDown: [0, -10],
    Home: [0, -most], End: [0, most],
  };
  const name = run ? "Read the curves: left and right by labels, up and down by task"
    : "Read the learning curve at a number of labels";
  for (const plot of plots) {
    const start = run ? 0 : Math.max(0, stops[0].findIndex((stop) => stop.n === available));
    shownAt.set(plot, [0, start]);
    place(plot, {
      role: "slider", tabindex: 0, "aria-label": name, "aria-valuemin": 0,
      "aria-valuenow": start, "aria-valuemax": most, "aria-valuetext": spoken(0, stops[0][start]),
    });
    const follow = (event) => read(plot, ...nearest(plot, event));
    plot.addEventListener("pointermove", follow);
    plot.addEventListener("pointerdown", follow);
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
      const task = Math.min(Math.max(t, 0), stops.length - 1);
      read(plot, task, Math.min(Math.max(k, 0), stops[task].length - 1));
    });
  }
  rows.forEach((row, k) => {
    row.addEventListener("pointerenter", () => light(k));
    row.addEventListener("pointerleave", () => light(null));
  });
})();
