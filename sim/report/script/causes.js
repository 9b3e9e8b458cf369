// What led to what. Code takes no virtual time: all that a machine does at one
// nanosecond is one step, set off by what arrived at that nanosecond, or by a
// timer where nothing did. Code that keeps calls apart by nanoseconds is given a
// moment to do so; the network takes longer.

const stepLasts = 2000; // ns

class Causes {
  constructor(run) {
    this.run = run;
    this.sends = null; // messages by sender
    this.sorted = new Set(); // those of them that are in order of sending
  }

  sent(machine) {
    if (!this.sends) this.sends = sort(this.run.messages.count, this.run.messages.from, this.run.head.machines.length);
    if (!this.sorted.has(machine)) {
      const sent = this.run.messages.sent;
      this.sends[machine].sort((a, b) => sent[a] - sent[b] || a - b);
    }
    this.sorted.add(machine);
    return this.sends[machine];
  }

  // within gives those of a list whose time is from a on and before b.
  static within(list, time, a, b) {
    const all = [];
    for (let k = Causes.place(list, time, a); k < list.length && time[list[k]] < b; k++) all.push(list[k]);
    return all;
  }

  // place is the first of a list, which is in order of time, that is not before t.
  static place(list, time, t) {
    let low = 0, high = list.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (time[list[mid]] < t) low = mid + 1; else high = mid;
    }
    return low;
  }

  // step is what a machine did at about t, and what set it off.
  step(machine, t) {
    const { messages, events } = this.run, list = this.run.arrivals[machine];
    let k = Causes.place(list, messages.at, t + 1);
    if (k > 0 && t - messages.at[list[k - 1]] < stepLasts) t = messages.at[list[k - 1]];
    const end = k < list.length ? Math.min(t + stepLasts, messages.at[list[k]]) : t + stepLasts;
    return {
      machine, t,
      arrivals: Causes.within(list, messages.at, t, t + 1),
      events: Causes.within(this.run.told[machine], events.at, t, end).filter(i => this.run.presence(i) !== "there"),
      sends: Causes.within(this.sent(machine), messages.sent, t, end),
    };
  }

  // back gives the messages that led to a step, the nearest first, and the step
  // that began it all. Each is followed to what set off its sending.
  back(step, limit = 400) {
    const { messages } = this.run, seen = new Set();
    const roots = [];
    const open = [step];
    while (open.length && seen.size < limit) {
      const s = open.shift();
      if (s.arrivals.length === 0) roots.push(s);
      for (const m of s.arrivals) {
        if (seen.has(m)) continue;
        seen.add(m);
        open.push(this.step(messages.from[m], messages.sent[m]));
      }
    }
    return { messages: [...seen], roots, more: open.length > 0 };
  }

  // forth gives the messages that followed from a step, the earliest first.
  forth(step, limit = 400) {
    const { messages } = this.run, seen = new Set();
    const open = [step];
    while (open.length && seen.size < limit) {
      const s = open.shift();
      for (const m of s.sends) {
        if (seen.has(m)) continue;
        seen.add(m);
        open.push(this.step(messages.to[m], messages.at[m]));
      }
    }
    return { messages: [...seen].sort((a, b) => messages.at[a] - messages.at[b]), more: open.length > 0 };
  }
}
