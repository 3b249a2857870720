
"use strict";
(() => {
  const numbers = JSON.parse(document.getElementById("numbers").textContent);
  const curve = numbers.curve;
  const charts = [...document.querySelectorAll("svg.chart")];
  const at = (id) => document.getElementById(id);
  const count = (n) => Math.round(n).toLocaleString("en-US");
  const labels = (n) => count(n) + (Math.round(n) === 1 ? " label" : " labels");

  // Three digits are as many as a reading deserves.
  const rough = (n) => {
    if (n === null) return null;
    const unit = 10 ** Math.max(0, Math.floor(Math.log10(n)) - 2);
    return Math.round(n / unit) * unit;
  };

  // Where a column of the curve first reaches a target; null: not by its end.
  function crossing(target, column) {
    const rows = curve.filter((row) => row[column] !== null);
    for (let k = 0; k < rows.length; k++) {
      const [n, value] = [rows[k][0], rows[k][column]];
      if (value < target) continue;
      if (k === 0) return n;
      const [before, below] = [rows[k - 1][0], rows[k - 1][column]];
      const share = (target - below) / (value - below);
      return before * (n / before) ** share;
    }
    return null;
  }

  const asked = numbers.need;
  const isAsked = (target) => asked !== null && Math.abs(asked[0] - target) < 6e-5;

  // n: expected; low: the band's upper end reaches it; high: its lower end does.
  function needed(target) {
    if (isAsked(target)) return { n: asked[1], low: asked[2], high: asked[3] };
    const [n, low, high] = [1, 3, 2].map((column) => crossing(target, column));
    return { n: rough(n), low: rough(low), high: rough(high) };
  }

  const first = curve.length ? curve[0][0] : 0;
  const last = curve.length ? curve[curve.length - 1][0] : 0;
  const banded = curve.some((row) => row[2] !== null && row[3] !== null);

  function wordsOf(need) {
    if (need.n === null) return [`not reached by ${count(last)}`, endsOf(need)];
    return [labels(need.n) + (need.n <= first ? " or fewer" : ""), endsOf(need)];
  }

  function endsOf(need) {
    if (!banded) return "";
    if (need.low === null) return "Even the upper end of the band stays below it";
    if (need.high !== null && need.high <= first) return "";
    const low = need.low <= first ? "up" : count(need.low);
    const high = need.high === null ? `more than ${count(last)}` : count(need.high);
    return `90\u00a0% interval ${low} to ${high}`;
  }

  function moreWords(n) {
    if (n === null || !numbers.n || n <= numbers.n) return "";
    const times = n / numbers.n;
    const ratio = times.toFixed(times < 10 ? 1 : 0);
    return `${count(n - numbers.n)} more than you have (${ratio}\u00a0×)`;
  }

  const scaleOf = (svg) => {
    const pair = (name) => svg.dataset[name].split(" ").map(Number);
    const [[x0, x1], [y0, y1], [n0, n1], [v0, v1]] = ["x", "y", "n", "v"].map(pair);
    return {
      x: (n) => x0 + (Math.log(Math.min(Math.max(n, n0), n1) / n0) / Math.log(n1 / n0)) * (x1 - x0),
      y: (v) => y0 + ((v - v0) / (v1 - v0)) * (y1 - y0),
      right: x1, bottom: y0,
    };
  };

  const place = (element, values) => {
    for (const name in values) element.setAttribute(name, values[name]);
  };
  const show = (element, on) => place(element, { visibility: on ? "inherit" : "hidden" });

  function drawTarget(target, need) {
    for (const svg of charts) {
      const scale = scaleOf(svg);
      const part = (name) => svg.querySelector("." + name);
      const y = scale.y(target);
      const x = need.n === null ? 0 : scale.x(need.n);
      place(part("target"), { visibility: "visible" });
      place(part("goal"), { y1: y, y2: y });
      place(part("goal-name"), { y: y - 7 });
      part("goal-name").textContent = `target ${target.toFixed(3)}`;
      const right = need.high === null ? scale.right : scale.x(need.high);
      const left = need.low === null ? 0 : scale.x(need.low);
      place(part("needed-span"), { x1: left, x2: right, y1: y, y2: y });
      place(part("needed-drop"), { x1: x, x2: x, y1: y, y2: scale.bottom });
      place(part("needed"), { cx: x, cy: y });
      show(part("needed-span"), need.low !== null);
      show(part("needed-drop"), need.n !== null);
      show(part("needed"), need.n !== null);
    }
  }

  const goal = at("goal");
  if (goal) {
    const given = [at("goal-needed").textContent, at("goal-ends").textContent];
    const update = () => {
      const target = Number(goal.value);
      const need = needed(target);
      const [words, ends] = isAsked(target) ? given : wordsOf(need);
      at("goal-shown").textContent = target.toFixed(3);
      at("goal-needed").textContent = words;
      at("goal-ends").textContent = ends;
      at("goal-more").textContent = moreWords(need.n);
      goal.setAttribute("aria-valuetext", `${target.toFixed(3)}: ${words}`);
      drawTarget(target, need);
    };
    at("goal-card").hidden = false;
    at("goal-control").hidden = false;
    goal.addEventListener("input", update);
    update();
  }

  // What can be read off the chart: the curve's points, and those measured below its start.
  const measured = new Map(numbers.observed);
  const stops = curve.map(([n, mean, low, high]) => ({ n, mean, low, high }));
  for (const [n, value] of numbers.observed) {
    if (!stops.some((stop) => stop.n === n)) stops.push({ n, mean: value, measured: true });
  }
  stops.sort((a, b) => a.n - b.n);

  function linesOf(stop) {
    if (stop.measured) return [`measured ${stop.mean.toFixed(3)}`];
    const lines = [`accuracy ${stop.mean.toFixed(3)}`];
    if (stop.low !== null && stop.high !== null) {
      lines.push(`90 % interval ${stop.low.toFixed(3)} to ${stop.high.toFixed(3)}`);
    }
    if (measured.has(stop.n)) lines.push(`measured ${measured.get(stop.n).toFixed(3)}`);
    return lines;
  }

  const tip = at("tip");
  const shownAt = new WeakMap();

  function read(plot, index) {
    const svg = plot.querySelector("svg");
    const scale = scaleOf(svg);
    const stop = stops[index];
    const [x, y] = [scale.x(stop.n), scale.y(stop.mean)];
    const line = svg.querySelector(".cursor");
    const dot = svg.querySelector(".cursor-dot");
    place(line, { x1: x, x2: x });
    place(dot, { cx: x, cy: y });
    show(line, true);
    show(dot, true);
    tip.replaceChildren();
    const head = document.createElement("b");
    head.textContent = labels(stop.n);
    tip.append(head);
    for (const words of linesOf(stop)) {
      const row = document.createElement("div");
      row.textContent = words;
      tip.append(row);
    }
    tip.hidden = false;
    const ratio = svg.clientWidth / svg.viewBox.baseVal.width;
    const beside = x * ratio + 12;
    const fits = beside + tip.offsetWidth <= svg.clientWidth;
    tip.style.left = `${fits ? beside : Math.max(0, x * ratio - 12 - tip.offsetWidth)}px`;
    tip.style.top = `${scale.bottom * ratio - tip.offsetHeight - 6}px`;  // below the curve
    shownAt.set(plot, index);
    place(plot, {
      "aria-valuenow": index,
      "aria-valuetext": `${labels(stop.n)}: ${linesOf(stop).join(", ")}`,
    });
  }

  function leave(plot) {
    tip.hidden = true;
    show(plot.querySelector(".cursor"), false);
    show(plot.querySelector(".cursor-dot"), false);
  }

  function nearest(plot, event) {
    const svg = plot.querySelector("svg");
    const box = svg.getBoundingClientRect();
    const scale = scaleOf(svg);
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const far = stops.map((stop) => Math.abs(scale.x(stop.n) - x));
    return far.indexOf(Math.min(...far));
  }

  const plots = [...document.querySelectorAll(".plot")];
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest(".plot")) plots.forEach(leave);
  });

  const most = stops.length - 1;
  const moves = {
    ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1,
    PageUp: 10, PageDown: -10, Home: -stops.length, End: stops.length,
  };
  for (const plot of plots) {
    place(plot, {
      role: "slider", tabindex: 0, "aria-label": "Read the learning curve at a number of labels",
      "aria-valuemin": 0, "aria-valuemax": most,
    });
    const start = Math.max(0, stops.findIndex((stop) => stop.n === numbers.n));
    shownAt.set(plot, start);
    place(plot, { "aria-valuenow": start, "aria-valuetext": labels(stops[start].n) });
    plot.addEventListener("pointermove", (event) => read(plot, nearest(plot, event)));
    plot.addEventListener("pointerdown", (event) => read(plot, nearest(plot, event)));
    plot.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") leave(plot);  // a finger leaves, its reading stays
    });
    plot.addEventListener("focus", () => {
      if (plot.matches(":focus-visible")) read(plot, shownAt.get(plot));
    });
    plot.addEventListener("blur", () => leave(plot));
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Escape") leave(plot);
      if (!(event.key in moves)) return;
      event.preventDefault();
      read(plot, Math.min(Math.max(shownAt.get(plot) + moves[event.key], 0), most));
    });
  }
})();
