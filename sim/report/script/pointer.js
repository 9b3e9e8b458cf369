// The pointer, on mouse and touch screen alike.

Object.assign(Timeline.prototype, {
  listen() {
    for (const canvas of [this.canvas.charts, this.canvas.lanes]) this.listenTo(canvas);
    this.listenToOverview();
    $("scroll").addEventListener("scroll", () => { this.hideTip(); this.redraw(); });
  },

  listenTo(canvas) {
    const fingers = new Map();
    let moved = 0, stretch = null, apart = 0;
    const place = e => { const box = canvas.getBoundingClientRect(); return { x: e.clientX - box.left, y: e.clientY - box.top }; };
    canvas.addEventListener("pointerdown", e => {
      if (e.button) return;
      const p = place(e);
      fingers.set(e.pointerId, p);
      canvas.setPointerCapture(e.pointerId);
      moved = 0;
      apart = this.spread(fingers);
      stretch = canvas === this.canvas.charts && p.y < 18 && fingers.size === 1 ? p.x : null;
      this.hideTip();
    });
    canvas.addEventListener("pointermove", e => {
      const p = place(e), before = fingers.get(e.pointerId);
      if (!before) { this.hover(canvas, p, e); return; }
      fingers.set(e.pointerId, p);
      moved += Math.abs(p.x - before.x) + Math.abs(p.y - before.y);
      if (fingers.size === 2) {
        const now = this.spread(fingers);
        if (apart > 10 && now > 10) this.zoom(apart / now, [...fingers.values()].reduce((s, f) => s + f.x / 2, 0));
        apart = now;
      } else if (stretch !== null) {
        this.redraw();
        requestAnimationFrame(() => this.drawStretch(stretch, p.x));
      } else if (moved > 4) {
        this.pan(before.x - p.x);
      }
    });
    const end = e => {
      const p = fingers.get(e.pointerId);
      fingers.delete(e.pointerId);
      if (!p || e.type === "pointercancel") return;
      if (stretch !== null && Math.abs(p.x - stretch) > 4) this.look(this.t(Math.min(p.x, stretch)), this.t(Math.max(p.x, stretch)));
      else if (moved <= 4) this.click(canvas, p);
      stretch = null;
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => this.hideTip());
    canvas.addEventListener("dblclick", e => this.zoom(.25, place(e).x));
    canvas.addEventListener("wheel", e => {
      const x = place(e).x;
      if (e.ctrlKey || e.metaKey) {
        e.preventDefault();
        this.zoom(Math.exp(Math.max(-60, Math.min(60, e.deltaY)) / 90), x);
      } else if (e.deltaX || e.shiftKey) {
        e.preventDefault();
        this.pan(e.deltaX || e.deltaY);
      }
    }, { passive: false });
  },

  spread(fingers) {
    const [a, b] = fingers.values();
    return a && b ? Math.abs(a.x - b.x) : 0;
  },

  drawStretch(a, b) {
    const g = this.canvas.charts.getContext("2d");
    g.fillStyle = this.colour.event;
    g.globalAlpha = .25;
    g.fillRect(Math.min(a, b), 0, Math.abs(b - a), this.chartsHeight);
    g.globalAlpha = 1;
  },

  listenToOverview() {
    const canvas = this.canvas.overview;
    const time = e => {
      const box = canvas.getBoundingClientRect();
      return this.run.from + (e.clientX - box.left) / box.width * (this.run.until - this.run.from);
    };
    let from = null;
    canvas.addEventListener("pointerdown", e => { from = time(e); canvas.setPointerCapture(e.pointerId); });
    canvas.addEventListener("pointermove", e => {
      if (from === null) return;
      const to = time(e);
      if (Math.abs(to - from) > (this.run.until - this.run.from) / 200) this.look(Math.min(from, to), Math.max(from, to));
    });
    canvas.addEventListener("pointerup", e => {
      const to = time(e), length = this.t1 - this.t0;
      if (from !== null && Math.abs(to - from) <= (this.run.until - this.run.from) / 200) this.look(to - length / 2, to + length / 2);
      from = null;
    });
    canvas.addEventListener("pointercancel", () => { from = null; });
  },

  // hit finds the event or the message under a point of the lanes.
  hit(p) {
    const row = this.lanes.rows[Math.floor((p.y + this.offset) / this.lanes.height)];
    const { messages } = this.run;
    let best = null, least = 7;
    if (row && !(row.head && !row.folded)) {
      const { list, at } = this.lanes.found(row) || row.told, k = lower(at, this.t(p.x));
      for (const j of [k - 1, k]) {
        if (j < 0 || j >= list.length) continue;
        const d = Math.abs(this.x(at[j]) - p.x);
        if (d < least) { least = d; best = { event: list[j] }; }
      }
    }
    if (best) return best;
    least = 6;
    for (const i of this.inFlight) {
      const s = this.segment(i);
      if (s === null) continue;
      const dx = s.x1 - s.x0, dy = s.y1 - s.y0;
      const u = Math.max(0, Math.min(1, ((p.x - s.x0) * dx + (p.y - s.y0) * dy) / (dx * dx + dy * dy || 1)));
      const d = Math.hypot(s.x0 + u * dx - p.x, s.y0 + u * dy - p.y);
      if (d < least) { least = d; best = { message: i }; }
    }
    if (best || !row || row.head && !row.folded) return best;
    // Single arrivals, once they lie apart.
    const a = lower(row.arrived.at, this.t(p.x - 3)), b = lower(row.arrived.at, this.t(p.x + 3));
    if (b - a < 1 || b - a > 4) return null;
    for (let k = a; k < b; k++) {
      const d = Math.abs(this.x(messages.at[row.arrived.list[k]]) - p.x);
      if (d < least) { least = d; best = { message: row.arrived.list[k] }; }
    }
    return best;
  },

  click(canvas, p) {
    if (canvas === this.canvas.charts) {
      const l = this.lineAt(p);
      this.cursor = l ? l.at : this.t(p.x);
      this.redraw();
      return;
    }
    const hit = this.hit(p);
    if (hit) this.choose(hit);
    else { this.cursor = this.t(p.x); this.choose(null); }
  },

  lineAt(p) {
    if (p.y < 18 || p.y > this.axis) return null;
    let best = null, least = 5;
    for (const l of this.run.head.lines) {
      const d = Math.abs(this.x(l.at) - p.x);
      if (d <= least) { least = d; best = l; }
    }
    return best;
  },

  hover(canvas, p, e) {
    const digits = Math.min(9, Math.max(0, Math.ceil(9 - Math.log10((this.t1 - this.t0) / this.width))));
    let text = clock(this.t(p.x), digits);
    if (canvas === this.canvas.charts) {
      const l = this.lineAt(p), chart = this.charts.find(c => p.y >= c.top && p.y < c.top + c.height);
      if (l) text = clock(l.at) + "  " + l.who + "  " + l.text;
      if (chart) {
        const i = Math.floor(this.t(p.x) / chart.step);
        for (const curve of chart.curves) {
          const v = curve.values[i];
          if (v !== undefined && v >= 0) text += "\n" + curve.name + " " + (chart.unit === "us" ? span(v * 1000) : thousands(v));
        }
      }
    } else {
      const hit = this.hit(p);
      if (hit && hit.event !== undefined) text = clock(this.run.events.at[hit.event], 6) + "  " + words.where(this.run, hit.event) + "\n" + words.event(this.run, hit.event).slice(0, 400);
      else if (hit) text = clock(this.run.messages.at[hit.message], 6) + "  " + words.message(this.run, hit.message);
      else {
        const y = (p.y + this.offset) / this.lanes.height, row = this.lanes.rows[Math.floor(y)];
        if (row) text += "  " + row.name;
        const t = this.t(p.x);
        if (row && (!row.head || row.folded)) for (const c of this.lanes.claims(row)) if (c.from <= t && t < c.until) text += "\n" + c.text;
      }
    }
    const tip = $("tip");
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(e.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = (e.clientY + 18 + box.height > innerHeight ? e.clientY - box.height - 10 : e.clientY + 18) + "px";
  },

  hideTip() { $("tip").hidden = true; },
});
