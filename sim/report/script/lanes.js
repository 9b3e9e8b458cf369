// The rows of the timeline: one for each group of machines, and, where it is not
// folded, one for each of its machines. A row counts what arrived in it, exactly and
// at any zoom, by looking up places in sorted rows.

class Row {
  constructor(run, name, machines, detail, arrived, told) {
    Object.assign(this, { run, name, machines, detail, lists: { arrived, told }, head: false });
  }

  // What arrived and what was told here: places in the run, and their moments.
  get arrived() { return this.row("arrived", this.run.messages.at); }
  get told() { return this.row("told", this.run.events.at); }

  row(what, time) {
    const list = this.lists[what];
    const value = { list, at: pick(time, list) };
    Object.defineProperty(this, what, { value });
    return value;
  }
}

class Lanes {
  constructor(run) {
    this.run = run;
    this.height = 20;
    this.match = null; // of events, by place, while something is searched for
    const { head, messages, events } = run;
    const group = new Int32Array(head.machines.length);
    head.groups.forEach((g, i) => { for (const m of g.machines) group[m] = i; });
    const groupOf = machines => machines.map(m => m < 0 ? -1 : group[m]);
    const arrived = sort(messages.count, groupOf(messages.to), head.groups.length);
    const told = sort(events.count, groupOf(events.machine), head.groups.length);
    this.lost = head.lost[1].map(([a, b]) => [a * second, b * second]);
    this.groups = head.groups.map((g, i) => {
      const top = new Row(run, g.name, g.machines, String(g.machines.length), arrived[i], told[i]);
      top.head = true;
      const rows = g.machines.map(m => new Row(run, head.machines[m].name, [m], head.machines[m].zone || "", run.arrivals[m], run.told[m]));
      return { top, rows, folded: g.folded };
    });
    this.arrange();
  }

  // arrange lists the rows that are shown, and where each machine is to be found.
  arrange() {
    this.rows = [];
    this.place = new Int32Array(this.run.head.machines.length).fill(-1);
    for (const g of this.groups) {
      g.top.folded = g.folded;
      if (g.folded) for (const m of g.top.machines) this.place[m] = this.rows.length;
      this.rows.push(g.top);
      if (g.folded) continue;
      for (const row of g.rows) {
        this.place[row.machines[0]] = this.rows.length;
        this.rows.push(row);
      }
    }
  }

  // unfold shows a machine's own row.
  unfold(machine) {
    const g = this.groups.find(g => g.top.machines.includes(machine));
    if (!g || !g.folded) return false;
    g.folded = false;
    this.arrange();
    return true;
  }

  // total is how many messages had arrived in a row by t, as the counts have it.
  total(row, t) {
    if (!row.sums) {
      const n = Math.max(...row.machines.map(m => this.run.counts[m].length), 0), sums = row.sums = new Float64Array(n + 1);
      for (const m of row.machines) this.run.counts[m].forEach((v, i) => { sums[i + 1] += v; });
      for (let i = 1; i <= n; i++) sums[i] += sums[i - 1];
    }
    const x = Math.max(0, Math.min(t / this.run.head.step, row.sums.length - 1)), i = Math.floor(x);
    return row.sums[i] + (i + 1 < row.sums.length ? (x - i) * (row.sums[i + 1] - row.sums[i]) : 0);
  }

  // density counts the arrivals of a row in columns of equal width.
  density(row, t0, width, columns, into) {
    const counted = this.lost.length > 0 && (width > this.run.head.step / 2 || this.lost.some(([a, b]) => a < t0 + width * columns && b > t0));
    let before = counted ? this.total(row, t0) : lower(row.arrived.at, t0), most = 0;
    for (let i = 0; i < columns; i++) {
      const t = t0 + (i + 1) * width;
      const after = counted ? this.total(row, t) : lower(row.arrived.at, t, before);
      into[i] = after - before;
      if (into[i] > most) most = into[i];
      before = after;
    }
    return most;
  }

  // claims are those of a row's machines.
  claims(row) {
    return row.claims || (row.claims = this.run.head.claims.filter(c => row.machines.includes(c.machine)));
  }

  // found gives those events of a row that are searched for, or null where nothing is.
  found(row) {
    if (this.match === null) return null;
    if (row.foundBy !== this.match) {
      const list = row.told.list.filter(i => this.match[i]);
      row.foundBy = this.match;
      row.found = { list, at: pick(this.run.events.at, list) };
    }
    return row.found;
  }
}
