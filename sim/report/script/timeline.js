// The timeline: three canvases with one axis of time. The top one is the whole run
// and shows where the others look, the next one holds measures, the last one lanes.

class Timeline {
  constructor(run, lanes, causes) {
    Object.assign(this, { run, lanes, causes, t0: run.from, t1: run.until, arrows: false, chosen: null, cursor: null, dirty: false, onView: () => {}, onChoose: () => {} });
    this.canvas = { overview: $("overview"), charts: $("charts"), lanes: $("lanes") };
    this.charts = run.head.charts.map(c => ({ ...c, top: 0, height: c.bars ? 46 : 54 }));
    this.axis = 40; // for times, and for what was told
    this.readColours();
    this.label();
    this.listen();
    this.fit();
    new ResizeObserver(() => this.fit()).observe($("scroll"));
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    this.colour = {};
    for (const name of ["bg", "fg", "quiet", "line", "panel", "good", "bad", "density", "event", "led", "followed", "other"]) {
      this.colour[name] = style.getPropertyValue("--" + name).trim();
    }
    this.font = "11px " + getComputedStyle(document.body).fontFamily;
  }

  // label writes the heads of charts and lanes.
  label() {
    const charts = $("chartLabels");
    charts.replaceChildren();
    const box = (parent, kind, height) => {
      const e = parent.appendChild(document.createElement(kind));
      e.style.height = height + "px";
      return e;
    };
    box(charts, "div", this.axis);
    let top = this.axis;
    for (const c of this.charts) {
      c.top = top;
      top += c.height;
      const e = box(charts, "div", c.height);
      e.className = "chart";
      e.appendChild(document.createElement("b")).textContent = c.title;
      const legend = e.appendChild(document.createElement("span"));
      c.curves.forEach((curve, i) => {
        const key = legend.appendChild(document.createElement("i"));
        key.className = curve.tone || (i ? "second" : "");
        legend.append(curve.name + " ");
      });
    }
    this.chartsHeight = top + 4;
    const labels = $("laneLabels"), focus = document.activeElement && document.activeElement.dataset.group;
    labels.replaceChildren();
    let group = "";
    for (const row of this.lanes.rows) {
      if (row.head) group = row.name;
      const e = box(labels, row.head ? "button" : "div", this.lanes.height);
      e.style.lineHeight = this.lanes.height + "px";
      e.title = row.name + (row.head ? ", machines: " + row.detail : row.detail && ", " + row.detail);
      if (row.head) {
        e.dataset.group = row.name;
        e.setAttribute("aria-expanded", String(!row.folded));
        e.addEventListener("click", () => this.fold(row.name));
        e.textContent = row.name + (row.folded ? " · " + row.detail : "");
        if (focus === row.name) e.focus();
      } else {
        e.className = "machine";
        // Where there is little room a machine goes without the name of its group.
        const prefix = row.name.startsWith(group + "-") ? group + "-" : "";
        if (prefix) Object.assign(e.appendChild(document.createElement("span")), { className: "prefix", textContent: prefix });
        e.append(row.name.slice(prefix.length) + " ");
        e.appendChild(document.createElement("small")).textContent = row.detail;
      }
    }
  }

  fold(name) {
    const g = this.lanes.groups.find(g => g.top.name === name);
    g.folded = !g.folded;
    this.lanes.arrange();
    this.label();
    this.fit();
  }

  // fit gives the canvases the size at which they are shown.
  fit() {
    const ratio = devicePixelRatio || 1;
    const size = (canvas, width, height) => {
      canvas.style.height = height + "px";
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    };
    this.width = Math.max(this.canvas.charts.clientWidth, 50);
    const all = this.lanes.rows.length * this.lanes.height;
    const printing = document.documentElement.classList.contains("printing");
    this.shown = printing ? all : Math.min(all, $("scroll").clientHeight || all);
    size(this.canvas.overview, this.width, 40);
    size(this.canvas.charts, this.width, this.chartsHeight);
    size(this.canvas.lanes, this.width, this.shown);
    if (printing) this.draw(); else this.redraw();
  }

  redraw() {
    if (this.dirty) return;
    this.dirty = true;
    requestAnimationFrame(() => this.draw());
  }

  x(t) { return (t - this.t0) / (this.t1 - this.t0) * this.width; }
  t(x) { return this.t0 + x / this.width * (this.t1 - this.t0); }
  overviewX(t) { return (t - this.run.from) / (this.run.until - this.run.from) * this.width; }

  // look shows a stretch of time, of at least 200 ns, within the run.
  look(t0, t1) {
    const { from, until } = this.run;
    const length = Math.min(Math.max(t1 - t0, 200), until - from);
    const mid = (t0 + t1) / 2;
    this.t0 = Math.min(Math.max(mid - length / 2, from), until - length);
    this.t1 = this.t0 + length;
    this.onView();
    this.redraw();
  }

  zoom(factor, x = this.width / 2) {
    const t = this.t(x), length = (this.t1 - this.t0) * factor;
    this.look(t - length * x / this.width, t + length * (1 - x / this.width));
  }

  pan(pixels) {
    const by = pixels / this.width * (this.t1 - this.t0);
    this.look(this.t0 + by, this.t1 + by);
  }

  // go shows a moment, at the present zoom unless that is very wide.
  go(t, length = Math.min(this.t1 - this.t0, 30 * second)) {
    this.cursor = t;
    if (t < this.t0 + length * .05 || t > this.t1 - length * .05 || length < this.t1 - this.t0) this.look(t - length / 2, t + length / 2);
    this.redraw();
  }

  choose(what) {
    this.chosen = what;
    this.path = null;
    if (what) {
      const { messages, events } = this.run;
      const machine = what.event === undefined ? messages.to[what.message] : events.machine[what.event];
      this.cursor = what.event === undefined ? messages.at[what.message] : events.at[what.event];
      if (machine >= 0) {
        if (this.lanes.unfold(machine)) { this.label(); this.fit(); }
        const step = this.causes.step(machine, this.cursor);
        this.path = { step, back: this.causes.back(step), forth: this.causes.forth(step) };
        this.reveal(machine);
      }
    }
    this.onChoose();
    this.redraw();
  }

  // reveal scrolls to the row of a machine.
  reveal(machine) {
    const top = this.lanes.place[machine] * this.lanes.height, box = $("scroll");
    if (top < box.scrollTop || top + this.lanes.height > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
  }

  draw() {
    this.dirty = false;
    const began = performance.now();
    this.drawOverview();
    this.drawCharts();
    this.drawLanes();
    this.took = performance.now() - began;
  }

  clear(canvas) {
    const g = canvas.getContext("2d");
    g.globalAlpha = 1;
    g.clearRect(0, 0, this.width, canvas.height);
    g.font = this.font;
    g.textBaseline = "middle";
    return g;
  }

  drawOverview() {
    const g = this.clear(this.canvas.overview), h = 40, { head } = this.run, c = this.colour;
    const steps = Math.max(...this.run.counts.map(r => r.length), 1);
    if (!this.total) {
      this.total = new Float64Array(steps);
      for (const row of this.run.counts) row.forEach((v, i) => { this.total[i] += v; });
    }
    const most = Math.sqrt(Math.max(...this.total, 1));
    for (const f of head.faults) {
      g.globalAlpha = .16;
      g.fillStyle = c.bad;
      g.fillRect(this.overviewX(f.from), 0, Math.max(this.overviewX(f.until) - this.overviewX(f.from), 2), h);
    }
    g.globalAlpha = 1;
    g.fillStyle = c.density;
    g.beginPath();
    g.moveTo(0, h);
    const columns = Math.floor(this.width / 2);
    for (let i = 0; i < columns; i++) {
      const a = Math.floor(i * steps / columns), b = Math.max(Math.floor((i + 1) * steps / columns), a + 1);
      let v = 0;
      for (let j = a; j < b && j < steps; j++) v = Math.max(v, this.total[j]);
      const x = this.overviewX(a * head.step);
      g.lineTo(x, h - Math.sqrt(v) / most * (h - 8));
    }
    g.lineTo(this.width, h);
    g.fill();
    for (const b of head.broken) this.dashed(g, this.overviewX(b.at), 0, h);
    const x0 = this.overviewX(this.t0), x1 = this.overviewX(this.t1);
    g.fillStyle = c.bg;
    g.globalAlpha = .65;
    g.fillRect(0, 0, x0, h);
    g.fillRect(x1, 0, this.width - x1, h);
    g.globalAlpha = 1;
    g.strokeStyle = c.event;
    g.lineWidth = 1.5;
    g.strokeRect(x0 + .75, .75, Math.max(x1 - x0 - 1.5, 2), h - 1.5);
  }

  dashed(g, x, top, bottom) {
    g.strokeStyle = this.colour.bad;
    g.lineWidth = 1.5;
    g.setLineDash([4, 3]);
    g.beginPath();
    g.moveTo(x, top);
    g.lineTo(x, bottom);
    g.stroke();
    g.setLineDash([]);
  }

  // ticks gives the moments to write on the axis, and how many digits they need.
  ticks() {
    const want = (this.t1 - this.t0) / Math.max(this.width / 110, 1);
    const steps = [];
    for (let p = 1; p < second; p *= 10) steps.push(p, 2 * p, 5 * p);
    for (const s of [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400]) steps.push(s * second);
    const step = steps.find(s => s >= want) || steps[steps.length - 1];
    const digits = step >= second ? 0 : Math.ceil(9 - Math.log10(step) - 1e-9);
    const all = [];
    for (let t = Math.ceil(this.t0 / step) * step; t <= this.t1; t += step) all.push(t);
    return { all, digits, step };
  }

  drawCharts() {
    const g = this.clear(this.canvas.charts), c = this.colour, h = this.chartsHeight, { head } = this.run;
    for (const f of head.faults) {
      const x0 = Math.max(this.x(f.from), -2), x1 = Math.min(Math.max(this.x(f.until), x0 + 1), this.width + 2);
      if (x1 < 0 || x0 > this.width) continue;
      g.globalAlpha = .09;
      g.fillStyle = c.bad;
      g.fillRect(x0, 20, x1 - x0, h - 20);
    }
    g.globalAlpha = 1;
    const { all, digits } = this.ticks();
    g.textAlign = "center";
    for (const t of all) {
      const x = this.x(t);
      g.strokeStyle = c.line;
      g.lineWidth = 1;
      g.beginPath();
      g.moveTo(Math.round(x) + .5, 16);
      g.lineTo(Math.round(x) + .5, h);
      g.stroke();
      g.fillStyle = c.quiet;
      const text = clock(t, digits), half = g.measureText(text).width / 2;
      g.fillText(text, Math.min(Math.max(x, half), this.width - half), 9);
    }
    this.drawTold(g);
    for (const chart of this.charts) this.drawChart(g, chart);
    for (const b of head.broken) this.dashed(g, this.x(b.at), 20, h);
    this.drawCursor(g, 16, h);
  }

  // drawTold shows the lines of the story as ticks, and the names of faults.
  drawTold(g) {
    const c = this.colour, { head } = this.run;
    for (const l of head.lines) {
      const x = this.x(l.at);
      if (x < -2 || x > this.width + 2) continue;
      g.fillStyle = c[l.tone] || c.fg;
      g.globalAlpha = l.tone ? 1 : .55;
      g.fillRect(Math.round(x) - 1, 21, 2, 8);
    }
    g.globalAlpha = 1;
    g.textAlign = "left";
    let free = 0;
    for (const f of [...head.faults].sort((a, b) => a.from - b.from)) {
      const x = Math.max(this.x(f.from), 0) + 4;
      if (this.x(f.until) < 0 || x > this.width || x < free) continue;
      g.fillStyle = c.bad;
      g.fillText(f.name, x, 35);
      free = x + g.measureText(f.name).width + 8;
    }
  }

  drawChart(g, chart) {
    const c = this.colour, top = chart.top + 4, h = chart.height - 8, bottom = top + h;
    const n = Math.max(...chart.curves.map(v => v.values.length));
    const a = Math.max(Math.floor(this.t0 / chart.step) - 1, 0), b = Math.min(Math.ceil(this.t1 / chart.step) + 1, n);
    g.strokeStyle = c.line;
    g.lineWidth = 1;
    g.beginPath();
    g.moveTo(0, bottom + .5);
    g.lineTo(this.width, bottom + .5);
    g.stroke();
    const tone = (curve, i) => c[curve.tone] || (i ? c.led : c.event);
    let most = 1;
    if (chart.bars) {
      for (let i = 0; i < n; i++) most = Math.max(most, chart.curves.reduce((s, v) => s + Math.max(v.values[i] || 0, 0), 0));
      for (let i = a; i < b; i++) {
        let y = bottom;
        const x0 = this.x(i * chart.step), x1 = this.x((i + 1) * chart.step);
        chart.curves.forEach((curve, k) => {
          const high = Math.max(curve.values[i] || 0, 0) / most * h;
          if (high <= 0) return;
          const tall = Math.max(high, curve.tone === "bad" ? 2 : 0);
          g.fillStyle = tone(curve, k);
          g.globalAlpha = curve.tone === "bad" ? 1 : .6;
          g.fillRect(x0, y - tall, Math.max(x1 - x0 - (x1 - x0 > 5 ? 1 : 0), 1), tall);
          y -= tall;
        });
      }
      g.globalAlpha = 1;
    } else {
      // Powers of ten, from a millisecond, where it is about time.
      const scale = chart.unit === "us" ? v => Math.log10(Math.max(v, 1000) / 1000) : v => v;
      for (const curve of chart.curves) for (const v of curve.values) most = Math.max(most, scale(v));
      if (chart.unit === "us") {
        g.strokeStyle = c.line;
        g.globalAlpha = .6;
        g.beginPath();
        for (let p = 1; p <= most; p++) {
          const y = Math.round(bottom - p / most * h) + .5;
          g.moveTo(0, y);
          g.lineTo(this.width, y);
        }
        g.stroke();
        g.globalAlpha = 1;
      }
      chart.curves.forEach((curve, k) => {
        g.strokeStyle = tone(curve, k);
        g.lineWidth = 1.5;
        g.beginPath();
        let pen = false;
        for (let i = a; i < b; i++) {
          const v = curve.values[i];
          if (v === undefined || v < 0) { pen = false; continue; }
          const x = this.x((i + .5) * chart.step), y = bottom - scale(v) / most * h;
          if (pen) g.lineTo(x, y); else { g.moveTo(x, y); g.lineTo(x + 1, y); }
          pen = true;
        }
        g.stroke();
      });
      if (chart.unit === "us") for (let p = 1; p <= most; p += 2) this.drawScale(g, span(10 ** p * 1e6), bottom - p / most * h);
    }
    if (chart.unit !== "us") this.drawScale(g, thousands(most), top + 4);
  }

  // drawScale writes a value beside its height, over whatever is drawn there.
  drawScale(g, text, y) {
    g.textAlign = "right";
    const wide = g.measureText(text).width;
    g.fillStyle = this.colour.bg;
    g.globalAlpha = .75;
    g.fillRect(this.width - wide - 6, y - 6, wide + 6, 12);
    g.globalAlpha = 1;
    g.fillStyle = this.colour.quiet;
    g.fillText(text, this.width - 3, y);
  }

  drawCursor(g, top, bottom) {
    if (this.cursor === null) return;
    const x = Math.round(this.x(this.cursor)) + .5;
    g.strokeStyle = this.colour.fg;
    g.lineWidth = 1;
    g.beginPath();
    g.moveTo(x, top);
    g.lineTo(x, bottom);
    g.stroke();
  }
}
