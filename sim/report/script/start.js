// What is chosen, in words; keys; links to moments; print.

function showChosen(run, timeline) {
  const box = $("chosen"), what = timeline.chosen;
  box.hidden = what === null;
  box.replaceChildren();
  if (what === null) return;
  const add = (parent, kind, text, name) => {
    const e = parent.appendChild(document.createElement(kind));
    if (text !== undefined) e.textContent = text;
    if (name) e.className = name;
    return e;
  };
  const { messages, events, head } = run;
  const isEvent = what.event !== undefined;
  $("said").textContent = isEvent
    ? clock(events.at[what.event], 6) + "  " + words.where(run, what.event) + "  " + head.texts[events.kind[what.event]]
    : clock(messages.at[what.message], 6) + "  " + words.message(run, what.message);
  add(box, "h2", $("said").textContent);
  if (isEvent) {
    const list = add(box, "dl");
    for (const [key, value] of words.fields(run, what.event)) { add(list, "dt", key); add(list, "dd", value); }
    const presence = run.presence(what.event), moved = run.moved(what.event);
    if (presence) add(box, "p", presence === "here" ? "Only in this run." : "Only in the other run.");
    else if (moved) add(box, "p", "In the other run " + span(Math.abs(moved)) + (moved > 0 ? " later." : " earlier."));
  }
  if (!timeline.path) return;
  const { step, back, forth } = timeline.path;
  const columns = add(box, "div", undefined, "columns");
  const button = (list, text, target, name) => {
    const b = add(add(list, "li", undefined, name), "button", text);
    b.addEventListener("click", () => { timeline.choose(target); timeline.go(timeline.cursor); });
  };
  const eventsOf = (list, s) => { for (const i of s.events) if (!isEvent || i !== what.event) button(list, clock(events.at[i], 6) + "  " + words.where(run, i) + "  " + words.event(run, i).slice(0, 240), { event: i }, "step"); };
  const machine = m => head.machines[m].name;
  const told = (list, ids, later) => {
    for (const i of ids) {
      button(list, clock(messages.at[i], 6) + "  " + words.message(run, i), { message: i });
      eventsOf(list, timeline.causes.step(messages.to[i], messages.at[i]));
    }
  };

  const led = add(columns, "div");
  add(led, "h3", "What led to it");
  const before = add(led, "ol");
  for (const root of back.roots.slice(0, 20)) {
    add(before, "li", clock(root.t, 6) + "  a timer of " + machine(root.machine) + ", or what was done to it", "quiet");
    if (root.t !== step.t || root.machine !== step.machine) eventsOf(before, root);
  }
  told(before, [...back.messages].sort((a, b) => messages.at[a] - messages.at[b]).slice(-200));
  if (back.more) add(led, "p", "More came before that.", "quiet");
  if (back.messages.length === 0) {
    const list = run.arrivals[step.machine], k = Causes.place(list, messages.at, step.t);
    if (k > 0) add(led, "h3", "What it had heard last", "plain");
    const heard = add(led, "ol");
    for (const i of list.slice(Math.max(0, k - 8), k)) button(heard, clock(messages.at[i], 6) + "  " + words.message(run, i), { message: i });
  }

  const followed = add(columns, "div");
  const beside = document.createElement("ol");
  eventsOf(beside, step);
  if (beside.children.length) {
    add(followed, "h3", "At the same instant", "plain");
    followed.append(beside);
  }
  add(followed, "h3", "What followed", "followed");
  const after = add(followed, "ol");
  told(after, forth.messages.slice(0, 200));
  if (forth.messages.length > 200 || forth.more) add(followed, "p", "And more: " + (forth.more ? "over " : "") + thousands(forth.messages.length) + " messages in all.", "quiet");
  if (forth.messages.length === 0) add(followed, "p", "It sent nothing at that instant.", "quiet");
}

function showStatus(run, timeline) {
  const n = lower(run.messages.at, timeline.t1) - lower(run.messages.at, timeline.t0);
  const length = timeline.t1 - timeline.t0, digits = length < second ? 6 : length < 60 * second ? 3 : 0;
  const parts = [clock(timeline.t0, digits) + " to " + clock(timeline.t1, digits) + ", " + span(length)];
  if (timeline.arrows) parts.push(thousands(n) + " messages" + (n > mostMessages ? ": zoom in to below " + thousands(mostMessages) + " to see them" : ""));
  if (timeline.lanes.lost.some(([a, b]) => a <= timeline.t0 && b >= timeline.t1)) parts.push("here messages are only counted");
  $("status").textContent = parts.join(" · ");
}

function listenToKeys(timeline, list) {
  const setArrows = on => {
    timeline.arrows = on;
    $("arrows").setAttribute("aria-pressed", String(on));
    timeline.onView();
    timeline.redraw();
  };
  const whole = () => timeline.look(timeline.run.from, timeline.run.until);
  $("in").addEventListener("click", () => timeline.zoom(.5));
  $("out").addEventListener("click", () => timeline.zoom(2));
  $("fit").addEventListener("click", whole);
  $("arrows").addEventListener("click", () => setArrows(!timeline.arrows));
  const keys = {
    ArrowLeft: () => timeline.pan(-timeline.width / 8), ArrowRight: () => timeline.pan(timeline.width / 8),
    "+": () => timeline.zoom(.5), "=": () => timeline.zoom(.5), "-": () => timeline.zoom(2),
    0: whole, n: () => list.next(1), p: () => list.next(-1), m: () => setArrows(!timeline.arrows),
    "/": () => $("search").focus(), Escape: () => timeline.choose(null),
    c: () => {
      const cause = timeline.path && timeline.path.back.messages[0];
      if (cause === undefined || !timeline.path) return;
      const message = timeline.chosen.message === cause ? timeline.path.back.messages[1] : cause;
      if (message !== undefined) { timeline.choose({ message }); timeline.go(timeline.cursor); }
    },
  };
  document.addEventListener("keydown", e => {
    if (e.target.matches("input[type=search]")) {
      if (e.key === "Escape") e.target.blur();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey || !keys[e.key]) return;
    e.preventDefault();
    keys[e.key]();
  });
}

async function start() {
  const began = performance.now();
  const run = await readRun($("data").content.textContent);
  $("data").remove();
  $("timeline").hidden = $("eventList").hidden = false;
  $("differencesLabel").hidden = !run.head.against;
  const timeline = new Timeline(run, new Lanes(run), new Causes(run));
  const list = new EventList(run, timeline);
  timeline.onView = () => { showStatus(run, timeline); list.viewChanged(); };
  timeline.onChoose = () => { showChosen(run, timeline); list.follow(); };
  listenToKeys(timeline, list);
  showStatus(run, timeline);

  // #at=SECONDS shows a moment, and what was told then.
  const moment = () => {
    const at = /^#at=(-?[0-9]+(?:\.[0-9]+)?)$/.exec(location.hash);
    if (!at) return;
    timeline.go(+at[1] * second);
    $("timeline").scrollIntoView({ block: "nearest" });
  };
  addEventListener("hashchange", moment);
  document.addEventListener("click", e => { // again, though the address stays
    const a = e.target.closest("a[href^='#at=']");
    if (a && a.getAttribute("href") === location.hash) moment();
  });
  moment();

  const recolour = () => { timeline.readColours(); timeline.fit(); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
  addEventListener("resize", () => timeline.fit());
  const printing = on => {
    document.documentElement.classList.toggle("printing", on);
    recolour();
  };
  addEventListener("beforeprint", () => printing(true));
  addEventListener("afterprint", () => printing(false));
  document.documentElement.dataset.ready = Math.round(performance.now() - began);
}

start().catch(e => {
  const note = document.createElement("p");
  note.className = "failure";
  note.textContent = "The timeline cannot be shown: " + e.message;
  document.querySelector("main").prepend(note);
});
