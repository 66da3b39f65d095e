/* Feeds the trajectory browser: numbers in portions as they are committed, texts when they are looked at. */
"use strict";
const trajectories = (() => {
  const {el, visible, number, put} = words;
  const CHUNK = 100, KEPT = 200;

  class Trajectories {
    constructor(run) {
      this.address = `/api/runs/${run}`;
      this.parts = [];
      this.cursor = "";
      this.details = new Map();
      this.words = new Map();
      this.place = el("div");
      this.hint = el("p", {class: "constant", role: "status", text: "Reading the tables \u2026"});
      this.node = el("div", {class: "trajectories"}, this.hint, this.place);
      this.left = 0;
    }

    /* Fetches what is new; one at a time. */
    async refresh() {
      if (this.busy) { this.again = true; return; }
      this.busy = true;
      try {
        do {
          this.again = false;
          let more = true;
          while (more) {
            const {value} = await link.get(this.address + "/trajectories", {cursor: this.cursor});
            if (value.anew) { this.searched = null; this.parts = []; this.details.clear(); this.words.clear(); }
            for (const part of value.parts) this.take(part);
            this.cursor = value.cursor;
            more = value.more;
            if (value.parts.length || value.anew || !this.browser) this.show(value);
          }
        } while (this.again);
      } finally {
        this.busy = false;
      }
    }

    take(got) {
      const old = this.parts[got.part];
      if (got.start === 0 || !old || old.count !== got.start) {
        this.parts[got.part] = {table: got.table, count: got.rows, columns: got};
        for (const key of this.details.keys()) if (key.startsWith(got.part + "/")) this.details.delete(key);
        return;
      }
      for (const name of ["role", "status", "category"]) old.columns[name] = old.columns[name].concat(got[name]);
      for (const name of ["reward", "level", "length"]) old.columns[name] = old.columns[name].concat(got[name]);
      old.count += got.rows;
    }

    show(value) {
      this.order = [];
      const index = {tables: [], total: value.total, entries: 0, row: null, names: value.names,
        table: [], role: [], status: [], category: [], reward: [], level: [], length: []};
      this.parts.forEach((part, n) => {
        if (!part.count) return;
        this.order.push({part: n, start: index.entries, count: part.count});
        index.table.push([index.tables.length, part.count]);
        index.tables.push(part.table);
        index.entries += part.count;
        for (const name of ["role", "status", "category"]) for (const run of part.columns[name]) index[name].push(run);
      });
      for (const name of ["reward", "level", "length"]) index[name] = [].concat(...this.order.map(o => this.parts[o.part].columns[name]));
      const missing = value.missing.slice(0, 3).map(([file, why]) => `${file}: ${why}`).join("; ");
      put(this.hint, value.missing.length ? visible(`${number(value.missing.length)} tables cannot be read: ${missing}`)
        : index.entries ? "" : "No trajectory has been committed yet.");
      this.hint.hidden = !this.hint.textContent;
      this.hint.classList.toggle("trouble", value.missing.length > 0);
      if (!index.entries && !this.browser) return;
      if (this.browser) this.browser.update(index);
      else this.browser = selfevoBrowser.start(this.place, this.source(index));
    }

    /* Goes to a trajectory once its table is here. */
    async go(id) {
      while (this.busy) await new Promise(done => setTimeout(done, 50));
      await this.refresh();
      if (this.browser) await this.browser.show(id);
    }

    /* [part, row] of an entry. */
    at(entry) {
      let low = 0, high = this.order.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (this.order[middle].start <= entry) low = middle; else high = middle - 1;
      }
      return [this.order[low].part, entry - this.order[low].start];
    }

    entry(part, row) {
      const found = this.order.find(o => o.part === part);
      return found && row < found.count ? found.start + row : -1;
    }

    source(index) {
      return {
        index, scope: "all texts", known: () => true,
        missing: () => this.trouble || "This trajectory cannot be read at the moment.",
        detail: async i => {
          const [part, row] = this.at(i), key = `${part}/${row}`;
          if (this.details.has(key)) return this.details.get(key);
          try {
            const {value} = await link.get(this.address + "/trajectory", {part, row});
            if (this.details.size >= KEPT) this.details.delete(this.details.keys().next().value);
            this.details.set(key, value);
            return value;
          } catch (error) {
            this.trouble = error instanceof Away ? "The page's server does not answer." : error.message;
            return null;
          }
        },
        find: async id => {
          try {
            const {value} = await link.get(this.address + "/find", {id});
            return this.entry(value.part, value.row);
          } catch {
            return -1;
          }
        },
        snippet: i => {
          const [part, row] = this.at(i), held = this.words.get(`${part}/${Math.floor(row / CHUNK)}`);
          return held && held[row % CHUNK] || "";
        },
        shown: entries => {
          const wanted = new Set(entries.map(i => { const [part, row] = this.at(i); return `${part}/${Math.floor(row / CHUNK)}`; }));
          for (const key of wanted) if (!this.words.has(key)) this.fetchWords(key);
        },
        search: async text => {
          try {
            const held = this.searched && this.searched.text === text ? this.searched : {text, parts: 0, found: []};
            if (held.parts < this.parts.length) {  // tables never change: what was looked through once is not again
                const {value} = await link.get(this.address + "/search", {text, first: held.parts});
                held.found.push(...Object.entries(value.found));
                held.left = (held.left || 0) + value.left;
                held.parts = value.parts;
                this.searched = held;
            }
            const value = held, found = new Set();
            for (const [part, rows] of held.found) for (const row of rows) { const i = this.entry(+part, row); if (i >= 0) found.add(i); }
            put(this.hint, value.left ? `The search took long: ${number(value.left)} older tables were not looked through.` : "");
            this.hint.hidden = !value.left;
            return found;
          } catch {
            return new Set();
          }
        },
      };
    }

    async fetchWords(key) {
      this.words.set(key, []);
      const [part, chunk] = key.split("/").map(Number);
      try {
        const {value} = await link.get(this.address + "/words", {part, start: chunk * CHUNK, stop: (chunk + 1) * CHUNK});
        this.words.set(key, value.words);
        this.browser.repaint();
      } catch {
        this.words.delete(key);
      }
    }
  }
  return {Trajectories};
})();
