/* Holds the page together: asks for news, keeps the opened runs in tabs, and says so when the server is away. */
"use strict";
(() => {
  const {el, visible, number, put} = words;
  /* REST: what took a second is asked for again after so many, since drawing takes time from whoever works on this machine. */
  const EVERY = 1000, HIDDEN = 15000, REST = 8, MOST = 8, COMPARED = "compared";
  const byId = id => document.getElementById(id);
  const tabs = byId("tabs"), holder = byId("panels"), lost = byId("lost"), sign = byId("link");
  const table = new overview.Overview(id => opened.has(id) ? (at === id ? close(id) : select(id)) : open(id));
  const opened = new Map();
  const comparison = new panels.Comparison();
  let at = "", boot = "", revision = 0, timer = 0, failed = 0, asOf = null, polling = false;

  /* news */
  async function poll() {
    if (polling) return;
    polling = true;
    clearTimeout(timer);
    let wait = document.hidden ? HIDDEN : EVERY;
    try {
      const {value, changed} = await link.get("/api/runs", {boot, since: revision}, "runs");
      connected();
      if (changed) {
        if (value.boot !== boot) boot = value.boot;
        revision = value.revision;
        table.take(value);
        table.mark([...opened.keys()]);
        heading(value);
        for (const id of value.gone) if (opened.has(id)) close(id);
        const moved = new Set(value.rows.map(r => r.id));
        for (const [id, tab] of opened) if (moved.has(id)) tab.stale = true;
        if (value.waiting) wait = 50;
        restore(value);
      }
      await refresh();
    } catch (error) {
      if (error instanceof Away) { disconnected(); wait = Math.min(5000, EVERY * ++failed); }
      else if (!(error instanceof Refused)) throw error;
    } finally {
      polling = false;
      timer = setTimeout(poll, wait);
    }
  }

  function heading(value) {
    const running = [...table.rows.values()].filter(r => r.row.state === "running").length;
    put(byId("roots"), visible(value.roots.join("  \u00b7  ")) + (value.waiting ? `: reading, ${number(value.waiting)} to go` : ""));
    document.title = `${running ? `(${running}) ` : ""}selfevo watch`;
  }

  function connected() {
    failed = 0;
    asOf = new Date();
    lost.hidden = true;
    put(lost, "");
    put(sign, "live");
    sign.className = "status done";
    document.body.classList.remove("away");
  }

  function disconnected() {
    lost.hidden = false;
    put(lost, "The server of this page does not answer. " + (asOf ? `What you see is as of ${asOf.toLocaleTimeString()}. ` : "")
      + "Runs are not touched by this. Trying again; if it was ended: selfevo watch");
    put(sign, "not connected");
    sign.className = "status";
    document.body.classList.add("away");
  }

  /* tabs */
  function open(id, quiet) {
    if (opened.has(id)) return;
    if (opened.size >= MOST) close(opened.keys().next().value);
    const tab = {panel: new panels.Panel(id, () => close(id)), stale: true};
    tab.name = el("span");
    tab.button = el("button", {type: "button", role: "tab", id: "tab-" + id, "aria-controls": "panel-" + id}, tab.name);
    tab.button.addEventListener("click", () => select(id));
    tab.panel.node.id = "panel-" + id;
    tab.panel.node.setAttribute("role", "tabpanel");
    tab.panel.node.setAttribute("aria-labelledby", "tab-" + id);
    opened.set(id, tab);
    tabs.append(tab.button);
    holder.append(tab.panel.node);
    arrange();
    if (!quiet) select(id);
  }

  function close(id) {
    const tab = opened.get(id);
    if (!tab) return;
    const ids = [...opened.keys()], place = ids.indexOf(id), focused = tab.panel.node.contains(document.activeElement) || document.activeElement === tab.button;
    tab.button.remove();
    tab.panel.node.remove();
    opened.delete(id);
    link.forget("panel-" + id);
    arrange();
    if (at === id || (at === COMPARED && opened.size < 2)) {
      at = "";
      const next = ids[place + 1] || ids[place - 1];
      if (next) select(next);
      else { remember(); table.mark([]); }
    } else remember();
    if (focused) (opened.size ? buttonOf(at) : table.rows.get(id)?.open || table.filter).focus();
  }

  const shared = {button: el("button", {type: "button", role: "tab", id: "tab-" + COMPARED, "aria-controls": "panel-" + COMPARED, text: "Compare"}), panel: comparison};
  shared.button.addEventListener("click", () => select(COMPARED));
  comparison.node.id = "panel-" + COMPARED;
  comparison.node.setAttribute("role", "tabpanel");
  comparison.node.setAttribute("aria-labelledby", "tab-" + COMPARED);
  comparison.node.hidden = true;
  holder.append(comparison.node);
  const buttonOf = id => id === COMPARED ? shared.button : opened.get(id).button;

  function arrange() {
    byId("opened").hidden = !opened.size;
    if (opened.size > 1) tabs.append(shared.button);
    else shared.button.remove();
    comparison.over([...opened.keys()]);
    shared.stale = true;
    shared.next = 0;
    table.mark([...opened.keys()]);
  }

  function select(id) {
    at = id;
    for (const [name, tab] of [...opened, [COMPARED, shared]]) {
      const is = name === id;
      tab.button.setAttribute("aria-selected", String(is));
      tab.button.tabIndex = is ? 0 : -1;
      tab.panel.node.hidden = !is;
      if (is) tab.next = 0;
    }
    remember();
    table.mark([...opened.keys()]);
    tick();
    refresh().catch(error => { if (error instanceof Away) disconnected(); });
  }

  tabs.addEventListener("keydown", event => {
    const ids = [...opened.keys(), ...(opened.size > 1 ? [COMPARED] : [])], place = ids.indexOf(at);
    const to = {ArrowRight: ids[(place + 1) % ids.length], ArrowLeft: ids[(place + ids.length - 1) % ids.length], Home: ids[0], End: ids[ids.length - 1]}[event.key];
    if (to) { event.preventDefault(); select(to); buttonOf(to).focus(); }
    else if (event.key === "Delete" && at !== COMPARED) { event.preventDefault(); close(at); }
  });

  /* The panel in view is brought up to date; others when they come into view. */
  async function refresh() {
    for (const [id, tab] of opened) {
      const row = table.get(id);
      if (row) put(tab.name, visible(row.label));
    }
    const tab = at === COMPARED ? shared : opened.get(at);
    if (at === COMPARED) {
      if ([...opened.values()].some(t => t.stale)) shared.stale = true;
      comparison.metrics([...new Set([...opened.values()].flatMap(t => t.panel.data ? t.panel.data.metrics : []))].sort());
    }
    if (!tab || !tab.stale || Date.now() < (tab.next || 0)) return;
    tab.stale = false;
    const began = Date.now();
    try {
      await tab.panel.refresh();
      tab.next = Date.now() + REST * (Date.now() - began);
    } catch (error) {
      if (!(error instanceof Refused)) { tab.stale = true; throw error; }
    }
    tick();
  }

  /* which runs are open is kept in the address */
  function remember() {
    const query = new URLSearchParams([...opened.keys()].map(id => ["open", id]));
    if (at) query.set("at", at);
    history.replaceState(null, "", opened.size ? "#" + query : location.pathname);
  }

  let restored = false;
  function restore(value) {
    if (restored) return;
    const query = new URLSearchParams(location.hash.slice(1)), wanted = query.getAll("open");
    if (value.waiting && wanted.some(id => !table.get(id))) return;
    restored = true;
    const here = wanted.filter(id => table.get(id));
    const then = query.get("at");
    here.forEach(id => open(id, true));
    if (here.length) select(then === COMPARED && here.length > 1 ? COMPARED : here.includes(then) ? then : here[0]);
  }

  function tick() {
    table.tick();
    for (const [id, tab] of opened) tab.panel.tick(table.get(id), table.now());
  }
  setInterval(() => { if (!document.hidden && !document.body.classList.contains("away")) tick(); }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  poll();
})();
