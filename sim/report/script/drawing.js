// What the lanes show: how much arrives, faults, events, and messages.

const mostMessages = 4000; // that are drawn at once

Object.assign(Timeline.prototype, {
  drawLanes() {
    const g = this.clear(this.canvas.lanes), c = this.colour, { height } = this.lanes;
    const offset = this.offset = document.documentElement.classList.contains("printing") ? 0 : $("scroll").scrollTop;
    const first = Math.floor(offset / height), rows = this.lanes.rows.slice(first, first + Math.ceil(this.shown / height) + 1);
    const y = i => (first + i) * height - offset;

    rows.forEach((row, i) => {
      g.fillStyle = row.head && !row.folded ? c.panel : c.bg;
      g.fillRect(0, y(i), this.width, height);
    });
    const { all } = this.ticks();
    g.strokeStyle = c.line;
    g.lineWidth = 1;
    g.beginPath();
    for (const t of all) { const x = Math.round(this.x(t)) + .5; g.moveTo(x, 0); g.lineTo(x, this.shown); }
    rows.forEach((_, i) => { g.moveTo(0, y(i) - .5); g.lineTo(this.width, y(i) - .5); });
    g.globalAlpha = .6;
    g.stroke();
    g.globalAlpha = 1;
    this.drawLost(g);
    this.drawFaults(g, rows, y);
    this.drawDensity(g, rows, y);
    this.drawClaims(g, rows, y);
    for (const b of this.run.head.broken) this.dashed(g, this.x(b.at), 0, this.shown);
    this.drawMessages(g);
    rows.forEach((row, i) => { if (!row.head || row.folded) this.drawEvents(g, row, y(i)); });
    this.drawCursor(g, 0, this.shown);
  },

  // drawLost hatches the stretches of which no single messages are kept.
  drawLost(g) {
    if (this.t1 - this.t0 > 60 * second) return; // counts tell as much
    g.strokeStyle = this.colour.line;
    for (const [a, b] of this.lanes.lost) {
      const x0 = Math.max(this.x(a), 0), x1 = Math.min(this.x(b), this.width);
      if (x1 <= x0) continue;
      g.save();
      g.beginPath();
      g.rect(x0, 0, x1 - x0, this.shown);
      g.clip();
      g.beginPath();
      for (let x = x0 - this.shown; x < x1; x += 12) { g.moveTo(x, this.shown); g.lineTo(x + this.shown, 0); }
      g.stroke();
      g.restore();
    }
  },

  drawFaults(g, rows, y) {
    const { height } = this.lanes, c = this.colour;
    for (const f of this.run.head.faults) {
      const x0 = Math.max(this.x(f.from), -2), x1 = Math.min(Math.max(this.x(f.until), x0 + 1), this.width + 2);
      if (x1 < 0 || x0 > this.width) continue;
      const struck = new Set(f.machines);
      g.fillStyle = c.bad;
      g.globalAlpha = .2;
      rows.forEach((row, i) => {
        if ((!row.head || row.folded) && row.machines.some(m => struck.has(m))) g.fillRect(x0, y(i), x1 - x0, height - 1);
      });
      g.globalAlpha = .45;
      for (const t of [f.from, f.until]) g.fillRect(Math.round(this.x(t)), 0, 1, this.shown);
    }
    g.globalAlpha = 1;
  },

  // drawClaims draws a line at the top of a lane while its machine claims something.
  drawClaims(g, rows, y) {
    const c = this.colour;
    rows.forEach((row, i) => {
      if (row.head && !row.folded) return;
      for (const { from, until, text } of this.lanes.claims(row)) {
        const x0 = Math.max(this.x(from), 0), x1 = Math.min(this.x(until), this.width);
        if (x1 <= x0) continue;
        g.fillStyle = c.fg;
        g.fillRect(x0, y(i) + 1, Math.max(x1 - x0, 1), 3);
        const wide = g.measureText(text).width;
        if (wide + 20 > x1 - x0) continue;
        const mid = y(i) + this.lanes.height / 2 + 2;
        g.fillStyle = c.bg;
        g.fillRect(x0 + 8, mid - 6, wide + 4, 12);
        g.fillStyle = c.fg;
        g.textAlign = "left";
        g.fillText(text, x0 + 10, mid + 1);
      }
    });
  },

  drawDensity(g, rows, y) {
    const { height } = this.lanes, columns = Math.ceil(this.width / 2), width = (this.t1 - this.t0) / (this.width / 2);
    this.columns = rows.map((_, i) => this.columns && this.columns[i] && this.columns[i].length === columns ? this.columns[i] : new Float64Array(columns));
    let most = 1;
    rows.forEach((row, i) => {
      if (!row.head || row.folded) most = Math.max(most, this.lanes.density(row, this.t0, width, columns, this.columns[i]));
    });
    const scale = (height - 5) / Math.log2(1 + most);
    g.fillStyle = this.colour.density;
    g.globalAlpha = this.chosen ? .35 : .75;
    rows.forEach((row, i) => {
      if (row.head && !row.folded) return;
      const bottom = y(i) + height - 1, counts = this.columns[i];
      g.beginPath();
      let up = false;
      for (let k = 0; k < columns; k++) {
        const n = counts[k];
        if (n <= 0) {
          if (up) g.lineTo(2 * k, bottom);
          up = false;
          continue;
        }
        const top = bottom - Math.max(Math.log2(1 + n) * scale, 1.5);
        if (!up) g.lineTo(2 * k, bottom);
        g.lineTo(2 * k, top);
        g.lineTo(2 * k + 2, top);
        up = true;
      }
      if (up) g.lineTo(2 * columns, bottom);
      g.fill();
    });
    g.globalAlpha = 1;
  },

  // drawEvents draws a mark for each event that has room for its own.
  drawEvents(g, row, top) {
    const { events } = this.run, c = this.colour, mid = top + this.lanes.height / 2;
    const gap = 3 / this.width * (this.t1 - this.t0), found = this.lanes.found(row);
    const diamond = (path, i, size) => {
      const x = this.x(events.at[i]);
      path.moveTo(x, mid - size);
      path.lineTo(x + size, mid);
      path.lineTo(x, mid + size);
      path.lineTo(x - size, mid);
      path.closePath();
    };
    const draw = ({ list, at }, size) => {
      const marks = { event: new Path2D(), bad: new Path2D(), here: new Path2D(), there: new Path2D() };
      for (let k = lower(at, this.t0 - gap); k < at.length && at[k] <= this.t1 + gap; k = Math.max(k + 1, lower(at, at[k] + gap, k))) {
        diamond(marks[this.run.presence(list[k]) || (events.bad[list[k]] ? "bad" : "event")], list[k], size);
      }
      g.fillStyle = c.event;
      g.fill(marks.event);
      g.fillStyle = c.bad;
      g.fill(marks.bad);
      g.fillStyle = g.strokeStyle = c.other;
      g.fill(marks.here);
      g.lineWidth = 1.5;
      g.stroke(marks.there);
    };
    g.globalAlpha = this.chosen ? .5 : found ? .18 : 1;
    draw(row.told, 4);
    g.globalAlpha = 1;
    if (found) draw(found, 5);
    if (this.chosen && this.chosen.event !== undefined && row.machines.includes(events.machine[this.chosen.event])) {
      const path = new Path2D();
      diamond(path, this.chosen.event, 6);
      g.fillStyle = events.bad[this.chosen.event] ? c.bad : c.event;
      g.fill(path);
      g.strokeStyle = c.fg;
      g.lineWidth = 1.5;
      g.stroke(path);
    }
  },

  // drawMessages draws what is in flight in the stretch in view, if that is wanted
  // and not too much, and what led to and followed from what is chosen.
  drawMessages(g) {
    const { messages } = this.run, c = this.colour;
    this.inFlight = [];
    this.tooMany = 0;
    if (this.arrows) {
      const a = lower(messages.at, this.t0), b = lower(messages.at, this.t1);
      if (b - a > mostMessages) {
        this.tooMany = b - a;
      } else {
        for (let i = a; i < b; i++) this.inFlight.push(i);
        g.globalAlpha = this.chosen ? .15 : Math.max(.25, 1 - (b - a) / 1500);
        this.strokeMessages(g, this.inFlight, c.density, 1);
        g.globalAlpha = 1;
      }
    }
    if (this.path) {
      const { back, forth } = this.path;
      this.strokeMessages(g, forth.messages, c.followed, 1.5);
      this.strokeMessages(g, back.messages, c.led, 2);
      this.inFlight.push(...back.messages, ...forth.messages);
    }
  },

  strokeMessages(g, list, colour, width) {
    const { messages } = this.run;
    g.strokeStyle = g.fillStyle = colour;
    g.lineWidth = width;
    const heads = [];
    g.beginPath();
    for (const i of list) {
      const s = this.segment(i);
      if (s === null) continue;
      g.moveTo(s.x0, s.y0);
      g.lineTo(s.x1, s.y1);
      heads.push(s);
    }
    g.stroke();
    if (heads.length > 1500) return;
    g.beginPath();
    for (const s of heads) {
      const dx = s.x1 - s.x0, dy = s.y1 - s.y0, d = Math.hypot(dx, dy) || 1, ux = dx / d * 5, uy = dy / d * 5;
      g.moveTo(s.x1, s.y1);
      g.lineTo(s.x1 - ux - uy * .5, s.y1 - uy + ux * .5);
      g.lineTo(s.x1 - ux + uy * .5, s.y1 - uy - ux * .5);
      g.closePath();
    }
    g.fill();
  },

  // segment is where a message is drawn, or null outside the stretch in view.
  segment(i) {
    const { messages } = this.run, { place, height } = this.lanes;
    const x0 = this.x(messages.sent[i]), x1 = this.x(messages.at[i]);
    if (x1 < -20 || x0 > this.width + 20) return null;
    const y = m => (place[m] + .5) * height - this.offset;
    return { x0, y0: y(messages.from[i]), x1, y1: y(messages.to[i]) };
  },
});
