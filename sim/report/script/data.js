// What the page carries, as encode.go packs it: a head, then columns of varints.

const $ = id => document.getElementById(id);
const second = 1e9;

class Column {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  next() {
    let v = 0, unit = 1, b;
    do {
      b = this.bytes[this.at++];
      v += (b & 127) * unit;
      unit *= 128;
    } while (b > 127);
    return v;
  }
  part() {
    const n = this.next();
    this.at += n;
    return new Column(this.bytes.subarray(this.at - n, this.at));
  }
  count() {
    let n = 0;
    for (const b of this.bytes) n += b < 128;
    return n;
  }
  all(type) {
    const values = new type(this.count()), { bytes } = this;
    for (let i = 0, at = 0; i < values.length; i++) {
      let v = 0, unit = 1, b;
      do {
        b = bytes[at++];
        v += (b & 127) * unit;
        unit *= 128;
      } while (b > 127);
      values[i] = v;
    }
    return values;
  }
  sums() {
    const values = this.all(Float64Array);
    for (let i = 1; i < values.length; i++) values[i] += values[i - 1];
    return values;
  }
}

// sort lists the numbers below count by their bins, in order; below 0 is no bin.
function sort(count, bin, bins) {
  const size = new Uint32Array(bins);
  for (let i = 0; i < count; i++) if (bin[i] >= 0) size[bin[i]]++;
  const lists = Array.from(size, n => new Uint32Array(n));
  size.fill(0);
  for (let i = 0; i < count; i++) if (bin[i] >= 0) lists[bin[i]][size[bin[i]]++] = i;
  return lists;
}

// pick gives the values at the places of a list.
function pick(values, list, type = values.constructor) {
  const all = new type(list.length);
  for (let i = 0; i < list.length; i++) all[i] = values[list[i]];
  return all;
}

async function readRun(text) {
  const letters = atob(text), packed = new Uint8Array(letters.length);
  for (let i = 0; i < packed.length; i++) packed[i] = letters.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const parts = new Column(new Uint8Array(await new Response(stream).arrayBuffer()));
  const run = { head: JSON.parse(new TextDecoder().decode(parts.part().bytes)) };
  const h = run.head;
  run.from = h.from;
  run.until = Math.max(h.until, h.from + 1);

  const e = run.events = { at: parts.part().sums() };
  e.count = e.at.length;
  e.machine = parts.part().all(Int32Array).map(m => m - 1); // -1 is the world itself
  e.process = parts.part().all(Uint32Array);
  e.kind = parts.part().all(Uint32Array);
  const sizes = parts.part();
  e.first = new Uint32Array(e.count + 1);
  for (let i = 0; i < e.count; i++) e.first[i + 1] = e.first[i] + 2 * sizes.next();
  e.fields = parts.part().all(Uint32Array);
  const marks = parts.part();
  e.mark = marks.bytes.length ? marks.all(Float64Array) : null;

  const c = { name: parts.part().all(Uint32Array), number: parts.part().all(Float64Array), from: parts.part().all(Uint32Array), to: parts.part().all(Uint32Array) };
  const m = run.messages = { at: parts.part().sums() };
  m.count = m.at.length;
  const conn = parts.part().all(Uint32Array);
  m.kind = parts.part().all(Uint32Array);
  m.size = parts.part().all(Int32Array).map(n => n - 1); // -1 is unknown
  m.name = pick(c.name, conn);
  m.number = pick(c.number, conn);
  m.from = pick(c.from, conn);
  m.to = pick(c.to, conn);
  m.sent = new Float64Array(m.count);
  const causes = parts.part(), took = parts.part();
  for (let i = 0; i < m.count; i++) {
    const back = causes.next();
    m.sent[i] = back ? m.at[i - back] : m.at[i] - took.next();
  }
  run.arrivals = sort(m.count, m.to, h.machines.length);
  run.told = sort(e.count, e.machine, h.machines.length);
  run.counts = h.machines.map(() => parts.part().all(Uint32Array));

  // An event that has a field for an error is one.
  const bad = new Set(["error", "err"].map(t => h.texts.indexOf(t)).filter(i => i >= 0));
  e.bad = new Uint8Array(e.count);
  for (let i = 0; i < e.count; i++) {
    for (let f = e.first[i]; f < e.first[i + 1]; f += 2) {
      if (bad.has(e.fields[f]) && h.texts[e.fields[f + 1]] !== "") e.bad[i] = 1;
    }
  }
  run.presence = i => e.mark === null || e.mark[i] > 1 ? "" : e.mark[i] === 0 ? "here" : "there";
  run.moved = i => { // how much later it came in the other run
    const z = e.mark === null || e.mark[i] < 2 ? 0 : e.mark[i] - 2;
    return z % 2 ? -(z + 1) / 2 : z / 2;
  };
  return run;
}

// lower gives the first place in a sorted row whose value is not below x.
function lower(row, x, from = 0, until = row.length) {
  while (from < until) {
    const mid = (from + until) >> 1;
    if (row[mid] < x) from = mid + 1; else until = mid;
  }
  return from;
}

// clock writes a moment with as many digits below the second as asked for.
function clock(ns, digits = 0) {
  const sign = ns < 0 ? "-" : "";
  const unit = 10 ** (9 - digits);
  let n = Math.floor(Math.abs(ns) / unit + 1e-6);
  const below = n % 10 ** digits;
  n = (n - below) / 10 ** digits;
  const two = v => String(v).padStart(2, "0");
  const h = Math.floor(n / 3600), min = Math.floor(n / 60) % 60, s = n % 60;
  return sign + (h ? h + ":" + two(min) : min) + ":" + two(s) + (digits ? "." + String(below).padStart(digits, "0") : "");
}

// span writes a length of time in the unit that fits.
function span(ns) {
  const a = Math.abs(ns), trim = v => String(+v.toPrecision(3));
  if (a < 1e3) return ns + " ns";
  if (a < 1e6) return trim(ns / 1e3) + " µs";
  if (a < 1e9) return trim(ns / 1e6) + " ms";
  if (a < 60e9) return trim(ns / 1e9) + " s";
  return Math.floor(a / 60e9) + "m" + String(Math.round(a / 1e9) % 60).padStart(2, "0") + "s";
}

const thousands = n => n.toLocaleString("en-US");

// What an event or a message says.
const words = {
  where(run, i) {
    const e = run.events;
    const machine = e.machine[i] < 0 ? "world" : run.head.machines[e.machine[i]].name;
    const process = run.head.texts[e.process[i]];
    return process ? machine + "/" + process : machine;
  },
  fields(run, i) {
    const e = run.events, all = [];
    for (let f = e.first[i]; f < e.first[i + 1]; f += 2) all.push([run.head.texts[e.fields[f]], run.head.texts[e.fields[f + 1]]]);
    return all;
  },
  event(run, i) {
    return [run.head.texts[run.events.kind[i]], ...words.fields(run, i).map(([k, v]) => k + "=" + v)].join("  ");
  },
  conn(run, i) {
    const name = run.head.texts[run.messages.name[i]];
    return name.endsWith("#") ? name + run.messages.number[i] : name;
  },
  message(run, i) {
    const m = run.messages, h = run.head;
    const size = m.size[i] < 0 ? "" : ", " + thousands(m.size[i]) + " bytes";
    return h.texts[m.kind[i]] + "  " + h.machines[m.from[i]].name + " → " + h.machines[m.to[i]].name + "  on " + words.conn(run, i) + size + ", took " + span(m.at[i] - m.sent[i]);
  },
};
