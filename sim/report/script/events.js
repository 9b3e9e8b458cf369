// The list of events, of which only the rows in sight exist, and the search.

class EventList {
  constructor(run, timeline) {
    Object.assign(this, { run, timeline, rows: [], height: 24 });
    this.box = $("list");
    this.box.addEventListener("scroll", () => this.show());
    this.box.addEventListener("keydown", e => this.key(e));
    this.box.addEventListener("click", e => {
      const row = e.target.closest(".row");
      if (row) this.choose(+row.dataset.place);
    });
    for (const id of ["withMessages", "inView", "differences"]) $(id).addEventListener("change", () => this.refresh());
    let wait;
    $("search").addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => this.refresh(), 60); });
    this.refresh();
  }

  // words gives for each word that is searched for the texts and machines that hold it.
  words() {
    const { head } = this.run;
    this.texts ||= head.texts.map(t => t.toLowerCase());
    this.machines ||= head.machines.map(m => m.name.toLowerCase());
    const holders = (all, w) => {
      const flags = new Uint8Array(all.length);
      for (let i = 0; i < flags.length; i++) flags[i] = all[i].includes(w);
      return flags;
    };
    return $("search").value.toLowerCase().split(/\s+/).filter(w => w).map(w => ({ texts: holders(this.texts, w), machines: holders(this.machines, w) }));
  }

  // matching marks the events that hold every word; null is all.
  matching(wanted, differences) {
    if (!wanted.length && !differences) return null;
    const { events } = this.run, match = new Uint8Array(events.count);
    for (let i = 0; i < match.length; i++) match[i] = !differences || this.run.presence(i) ? 1 : 0;
    for (const { texts, machines } of wanted) {
      for (let i = 0; i < match.length; i++) {
        if (!match[i]) continue;
        let held = texts[events.process[i]] | texts[events.kind[i]] | (events.machine[i] >= 0 ? machines[events.machine[i]] : 0);
        for (let f = events.first[i]; !held && f < events.first[i + 1]; f++) held = texts[events.fields[f]];
        match[i] = held;
      }
    }
    return match;
  }

  refresh() {
    const { events, messages } = this.run, wanted = this.words(), differences = $("differences").checked;
    const match = this.timeline.lanes.match = this.matching(wanted, differences);
    const inView = $("inView").checked, from = inView ? this.timeline.t0 : -Infinity, until = inView ? this.timeline.t1 : Infinity;
    const some = $("withMessages").checked && !differences;
    // Messages stand in the list as the complement of their place.
    const rows = [];
    let j = some ? lower(messages.at, from) : messages.count;
    const found = j => wanted.every(w => w.machines[messages.from[j]] || w.machines[messages.to[j]] || w.texts[messages.name[j]] || w.texts[messages.kind[j]]);
    const end = some ? lower(messages.at, until) : j;
    for (let i = lower(events.at, from); i < events.count && events.at[i] <= until; i++) {
      if (match && !match[i]) continue;
      for (; j < end && messages.at[j] <= events.at[i]; j++) if (found(j)) rows.push(~j);
      rows.push(i);
    }
    for (; j < end; j++) if (found(j)) rows.push(~j);
    this.rows = rows;
    $("listSize").style.height = rows.length * this.height + "px";
    $("found").textContent = thousands(rows.length) + (rows.length === 1 ? " row" : " rows");
    this.show();
    this.timeline.redraw();
  }

  viewChanged() {
    if (!$("inView").checked) return;
    clearTimeout(this.wait);
    this.wait = setTimeout(() => this.refresh(), 120);
  }

  time(row) { return row < 0 ? this.run.messages.at[~row] : this.run.events.at[row]; }

  isChosen(row) {
    const c = this.timeline.chosen;
    return c !== null && (row < 0 ? c.message === ~row : c.event === row);
  }

  show() {
    const first = Math.max(Math.floor(this.box.scrollTop / this.height) - 5, 0);
    const last = Math.min(first + Math.ceil(this.box.clientHeight / this.height) + 10, this.rows.length);
    const rows = [];
    for (let k = first; k < last; k++) {
      const row = this.rows[k], e = document.createElement("div");
      e.style.top = k * this.height + "px";
      e.dataset.place = k;
      e.id = "row" + k;
      e.setAttribute("role", "option");
      e.setAttribute("aria-selected", String(this.isChosen(row)));
      e.setAttribute("aria-setsize", this.rows.length);
      e.setAttribute("aria-posinset", k + 1);
      const presence = row < 0 ? "" : this.run.presence(row);
      e.className = "row " + (row < 0 ? "message" : this.run.events.bad[row] ? "error" : "") + " " + presence;
      const part = text => { e.appendChild(document.createElement("span")).textContent = text; };
      part(clock(this.time(row), 6));
      part(row < 0 ? this.run.head.machines[this.run.messages.to[~row]].name : words.where(this.run, row));
      part(row < 0 ? words.message(this.run, ~row) : words.event(this.run, row).slice(0, 600));
      if (presence) e.lastChild.prepend(Object.assign(document.createElement("b"), { textContent: presence === "here" ? "only in this run  " : "only in the other run  " }));
      rows.push(e);
    }
    this.box.replaceChildren($("listSize"), ...rows);
  }

  // place finds what is chosen in the list, or where it would be.
  place() {
    const c = this.timeline.chosen;
    if (!c) return -1;
    const t = c.event === undefined ? this.run.messages.at[c.message] : this.run.events.at[c.event];
    let low = 0, high = this.rows.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.time(this.rows[mid]) < t) low = mid + 1; else high = mid;
    }
    for (let k = low; k < this.rows.length && this.time(this.rows[k]) === t; k++) if (this.isChosen(this.rows[k])) return k;
    return low;
  }

  follow() {
    const k = this.place();
    if (k >= 0 && k < this.rows.length) {
      const top = k * this.height;
      if (top < this.box.scrollTop || top + this.height > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top - this.box.clientHeight / 2;
      this.box.setAttribute("aria-activedescendant", "row" + k);
    }
    this.show();
  }

  choose(k) {
    const row = this.rows[k];
    if (row === undefined) return;
    this.timeline.choose(row < 0 ? { message: ~row } : { event: row });
    this.timeline.go(this.time(row));
  }

  // next chooses the next row, or the one before, from what is chosen or from the
  // moment in view.
  next(by) {
    if (this.rows.length === 0) return;
    const k = this.place();
    if (k >= 0) {
      const at = this.isChosen(this.rows[k]) ? k + by : by > 0 ? k : k - 1;
      this.choose(Math.max(0, Math.min(at, this.rows.length - 1)));
      return;
    }
    const from = this.timeline.cursor === null ? this.timeline.t0 : this.timeline.cursor;
    const later = this.rows.findIndex(r => this.time(r) >= from);
    this.choose(Math.max(0, by > 0 ? (later < 0 ? this.rows.length - 1 : later) : (later < 0 ? this.rows.length : later) - 1));
  }

  key(e) {
    const page = Math.floor(this.box.clientHeight / this.height);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page }[e.key];
    if (by === undefined) return;
    e.preventDefault();
    e.stopPropagation();
    const k = this.place();
    this.choose(k < 0 ? 0 : Math.max(0, Math.min(k + by, this.rows.length - 1)));
  }
}
