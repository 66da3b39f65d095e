/* The table of all runs: a row each, sorted and filtered, changed in place. */
"use strict";
const overview = (() => {
  const {el, visible, number, duration, ago, short, state, put} = words;
  const ORDER = ["running", "reading", "failed", "stale", "stopped", "done"];
  const COLUMNS = [
    {name: "run", title: "Run", by: r => (r.name || r.label).toLowerCase() + "\n" + r.label},
    {name: "state", title: "State", by: r => ORDER.indexOf(r.state)},
    {name: "iteration", title: "Iteration", by: r => r.total ? r.iteration / r.total : r.iteration, down: true, n: true},
    {name: "value", title: "Main metric", by: r => r.value, down: true, n: true},
    {name: "trend", title: "Trend", by: r => r.spark && r.spark.length > 1 ? r.value - r.spark[0] : null, down: true},
    {name: "tokens", title: "Tokens", by: r => r.tokens, down: true, n: true},
    {name: "seconds", title: "Elapsed", by: (r, now) => elapsed(r, now), down: true, n: true},
    {name: "left", title: "Time left", by: (r, now) => left(r, now), n: true},
    {name: "changed", title: "Last change", by: r => r.changed, down: true, n: true},
  ];

  const elapsed = (r, now) => r.seconds === undefined ? null : r.state !== "running" ? r.seconds
    : Math.max(r.seconds + Math.max(0, now - r.changed), r.began ? now - r.began : 0);
  const left = (r, now) => r.left === null || r.left === undefined || r.state !== "running" ? null : Math.max(0, r.left - Math.max(0, now - r.changed));

  function spark(values) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", "svg"), W = 96, H = 24, P = 3;
    node.setAttribute("class", "spark");
    node.setAttribute("viewBox", `0 0 ${W} ${H}`);
    node.setAttribute("aria-hidden", "true");
    const low = Math.min(...values), high = Math.max(...values), room = high - low || 1;
    const x = i => values.length < 2 ? W - P : P + i * (W - 2 * P) / (values.length - 1);
    const y = v => high === low ? H / 2 : H - P - (v - low) / room * (H - 2 * P);
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", values.map((v, i) => (i ? "L" : "M") + x(i).toFixed(1) + "," + y(v).toFixed(1)).join(""));
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("cx", x(values.length - 1).toFixed(1));
    dot.setAttribute("cy", y(values[values.length - 1]).toFixed(1));
    dot.setAttribute("r", "2.2");
    node.append(path, dot);
    return node;
  }

  class Row {
    constructor(toggle) {
      const cell = (tag, name, ...children) => el(tag, {class: name}, ...children);
      this.open = el("button", {type: "button", class: "open"});
      this.path = el("small", {class: "path"});
      this.bar = el("span", {class: "progress", "aria-hidden": "true"}, el("span"));
      this.cells = Object.fromEntries(["state", "iteration", "value", "trend", "tokens", "seconds", "left", "changed"].map(n => [n, el("td", {class: "c-" + n})]));
      this.count = el("span", {class: "of"});
      this.cells.iteration.append(this.count, this.bar);
      this.stage = el("small");
      this.number = el("span", {class: "of"});
      this.metric = el("small");
      this.cells.value.append(this.number, this.metric);
      for (const column of COLUMNS) if (column.n) this.cells[column.name].classList.add("n");
      this.node = el("tr", {}, el("th", {scope: "row"}, this.open, this.path), ...Object.values(this.cells));
      this.node.addEventListener("click", event => {
        if (event.target.closest("button") === this.open || !getSelection().toString()) toggle(this.row.id);
      });
      this.shown = {};
    }

    show(row) {
      this.row = row;
      put(this.open, visible(row.name || row.label));
      put(this.path, visible(row.label));
      const is = `${row.state}|${row.why}|${row.stage}|${row.trouble}`;
      if (this.shown.state !== is) {
        this.shown.state = is;
        put(this.stage, visible(row.trouble || row.stage || ""));
        this.stage.className = row.trouble ? "trouble" : "";
        this.cells.state.replaceChildren(state(row.state, row.why), this.stage);
      }
      if (row.version === undefined) return;
      put(this.count, row.total ? `${number(row.iteration)} / ${number(row.total)}` : row.iteration ? number(row.iteration) : "\u2013");
      this.bar.hidden = !row.total;
      this.bar.firstChild.style.setProperty("width", row.total ? `${100 * row.iteration / row.total}%` : "0");
      put(this.number, row.value === null ? "\u2013" : number(row.value));
      put(this.metric, visible((row.metric || "").replace(/^eval\//, "")));
      put(this.cells.tokens, row.tokens ? short(row.tokens) : "\u2013");
      const drawn = row.spark.join();
      if (this.shown.spark !== drawn) {
        this.shown.spark = drawn;
        const change = row.spark.length > 1 ? row.spark[row.spark.length - 1] - row.spark[0] : null;
        const said = change === null ? "" : (change > 0 ? "+" : change < 0 ? "\u2212" : "\u00b1") + number(Math.abs(+change.toPrecision(3)));
        this.cells.trend.replaceChildren(...(row.spark.length ? [spark(row.spark), el("span", {class: "delta", text: said})] : []));
      }
    }

    tick(now) {
      const row = this.row;
      if (row.version === undefined) return;
      put(this.cells.seconds, duration(elapsed(row, now)));
      const rest = left(row, now);
      put(this.cells.left, rest === null ? "\u2013" : rest < 1 ? "soon" : duration(rest));
      put(this.cells.changed, ago(Math.max(0, now - row.changed)));
    }
  }

  class Overview {
    /* `toggle(id)` opens or closes a run. */
    constructor(toggle) {
      this.rows = new Map();
      this.toggle = toggle;
      this.offset = 0;
      this.sort = {name: "", down: false};
      this.head = document.querySelector("#runs thead tr");
      this.body = document.querySelector("#runs tbody");
      this.count = document.getElementById("count");
      this.filter = document.getElementById("filter");
      this.empty = document.getElementById("empty");
      for (const column of COLUMNS) {
        const button = el("button", {type: "button", class: "sort", text: column.title});
        const cell = el("th", {scope: "col", class: `c-${column.name}${column.n ? " n" : ""}`, "aria-sort": "none"}, button);
        button.addEventListener("click", () => this.sortBy(column, cell));
        this.head.append(cell);
      }
      this.filter.addEventListener("input", () => this.arrange());
      document.getElementById("tools").addEventListener("submit", event => event.preventDefault());
    }

    now() { return Date.now() / 1000 + this.offset; }

    sortBy(column, cell) {
      const down = Boolean(column.down);
      if (this.sort.name !== column.name) this.sort = {name: column.name, down};
      else if (this.sort.down === down) this.sort = {name: column.name, down: !down};
      else this.sort = {name: "", down: false};
      for (const other of this.head.children) other.setAttribute("aria-sort", "none");
      if (this.sort.name) cell.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      this.arrange();
    }

    /* Takes in an answer of /api/runs. */
    take(answer) {
      this.offset = answer.now - Date.now() / 1000;
      this.answer = answer;
      if (answer.whole) {
        const here = new Set(answer.rows.map(r => r.id));
        for (const id of [...this.rows.keys()]) if (!here.has(id)) this.drop(id);
      }
      for (const id of answer.gone) this.drop(id);
      for (const row of answer.rows) {
        if (!this.rows.has(row.id)) this.rows.set(row.id, new Row(this.toggle));
        this.rows.get(row.id).show(row);
      }
      this.arrange();
    }

    drop(id) {
      const row = this.rows.get(id);
      if (row) { row.node.remove(); this.rows.delete(id); }
    }

    get(id) { const row = this.rows.get(id); return row && row.row; }

    mark(opened) {
      for (const [id, row] of this.rows) {
        const is = opened.includes(id);
        row.node.classList.toggle("opened", is);
        row.open.setAttribute("aria-expanded", String(is));
      }
    }

    compare() {
      const now = this.now();
      const column = COLUMNS.find(c => c.name === this.sort.name);
      const plain = (a, b) => (a.state === "running" ? 0 : 1) - (b.state === "running" ? 0 : 1)
        || (a.state === "running" ? 0 : (b.changed || 0) - (a.changed || 0)) || a.label.localeCompare(b.label, "en", {numeric: true});
      if (!column) return plain;
      const sign = this.sort.down ? -1 : 1;
      const none = v => v === null || v === undefined || Number.isNaN(v);
      return (a, b) => {
        const x = column.by(a, now), y = column.by(b, now);
        if (none(x) || none(y)) return (none(x) ? 1 : 0) - (none(y) ? 1 : 0) || plain(a, b);
        return sign * (typeof x === "string" ? x.localeCompare(y, "en", {numeric: true}) : x - y) || plain(a, b);
      };
    }

    /* Filters and sorts: rows move only where their order changed, and the focus stays where it is. */
    arrange() {
      const parts = this.filter.value.toLowerCase().split(/\s+/).filter(x => x);
      const text = r => [r.name, r.label, r.state, r.metric, r.stage].join("\n").toLowerCase();
      const all = [...this.rows.values()];
      const shown = all.filter(row => parts.every(p => text(row.row).includes(p)));
      const compare = this.compare();
      shown.sort((a, b) => compare(a.row, b.row));
      const focus = document.activeElement;
      const wanted = shown.map(row => row.node);
      const here = [...this.body.children];
      if (wanted.length !== here.length || wanted.some((node, i) => node !== here[i])) this.body.replaceChildren(...wanted);
      if (focus && focus !== document.activeElement && this.body.contains(focus)) focus.focus({preventScroll: true});
      const running = all.filter(row => row.row.state === "running").length;
      const few = shown.length < all.length ? `${number(shown.length)} of ${number(all.length)} runs` : `${number(all.length)} run${all.length === 1 ? "" : "s"}`;
      put(this.count, all.length ? `${few}, ${number(running)} running` : "");
      document.querySelector("#runs").hidden = !all.length;
      this.empty.hidden = shown.length > 0 || !this.answer;
      put(this.empty, all.length ? "No run matches the filter." : "No run here yet. One that begins appears by itself: selfevo run experiment=quickstart");
      this.tick();
    }

    tick() {
      const now = this.now();
      for (const row of this.rows.values()) row.tick(now);
    }
  }
  return {Overview, elapsed, left};
})();
