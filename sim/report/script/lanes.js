// The rows of the timeline: one for each group of machines, and, where it is not
// folded, one for each of its machines. A row counts what arrived in it, exactly and
// at any zoom, by looking up places in sorted rows.

class Row {
  constructor(name, machines, detail) {
    this.name = name;
    this.machines = machines;
    this.detail = detail;
    this.head = false;
  }
}

class Lanes {
  constructor(run) {
    this.run = run;
    this.height = 20;
    const { head, messages, events } = run;
    this.groups = head.groups.map(g => {
      const top = new Row(g.name, g.machines, String(g.machines.length));
      top.head = true;
      const rows = g.machines.map(m => new Row(head.machines[m].name, [m], head.machines[m].zone || ""));
      return { top, rows, folded: g.folded };
    });
    // Per machine, and per group.
    const group = new Int32Array(head.machines.length);
    this.groups.forEach((g, i) => { for (const m of g.top.machines) group[m] = i; });
    const collect = (count, time, machine) => {
      const n = head.machines.length, size = new Uint32Array(n + this.groups.length);
      for (let i = 0; i < count; i++) if (machine[i] >= 0) { size[machine[i]]++; size[n + group[machine[i]]]++; }
      const lists = Array.from(size, s => new Uint32Array(s));
      size.fill(0);
      for (let i = 0; i < count; i++) if (machine[i] >= 0) for (const r of [machine[i], n + group[machine[i]]]) lists[r][size[r]++] = i;
      return lists.map(list => ({ list, at: Float64Array.from(list, i => time[i]) }));
    };
    const arrived = collect(messages.count, messages.at, messages.to);
    const told = collect(events.count, events.at, events.machine);
    this.lost = head.lost[1].map(([a, b]) => [a * second, b * second]);
    const sums = machines => {
      const n = Math.max(...machines.map(m => run.counts[m].length), 0), sum = new Float64Array(n + 1);
      for (const m of machines) run.counts[m].forEach((v, i) => { sum[i + 1] += v; });
      for (let i = 1; i <= n; i++) sum[i] += sum[i - 1];
      return sum;
    };
    const fill = (row, i) => { row.arrived = arrived[i]; row.told = told[i]; row.found = null; row.sums = this.lost.length ? sums(row.machines) : null; };
    this.groups.forEach((g, i) => {
      fill(g.top, head.machines.length + i);
      for (const row of g.rows) fill(row, row.machines[0]);
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

  // total is how many messages had arrived in a row by t, where single ones are lost.
  total(row, t) {
    const x = Math.max(0, Math.min(t / this.run.head.step, row.sums.length - 1)), i = Math.floor(x);
    return row.sums[i] + (i + 1 < row.sums.length ? (x - i) * (row.sums[i + 1] - row.sums[i]) : 0);
  }

  // density counts the arrivals of a row in columns of equal width.
  density(row, t0, width, columns, into) {
    const counted = row.sums !== null && (width > this.run.head.step / 2 || this.lost.some(([a, b]) => a < t0 + width * columns && b > t0));
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

  // find marks the events that are searched for; null is all of them.
  find(match) {
    for (const g of this.groups) {
      for (const row of [g.top, ...g.rows]) {
        row.found = match === null ? null : row.told.list.filter(i => match[i]);
      }
    }
  }
}
