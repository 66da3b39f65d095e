/* The trajectory browser: a filter, a virtualised list, and one trajectory in full.

   Used by report.html, where everything is in the page, and by any page that loads trajectories over HTTP:

     selfevoBrowser.start(element, source) -> {update(index), repaint(), show(id)}

     source.index           the index (below)
     source.detail(i)       Promise of the detail of entry i, or of null where it cannot be had here
     source.find(id)        Promise of the entry number of the trajectory with that id, or of -1
     source.known(i)        whether detail(i) can be had at once (false draws the entry pale)
     source.snippet(i)      a short text of entry i for the list, "" for none
     source.search(text)    Set of the entries whose text holds `text`, or a Promise of it
     source.missing(i)      what to say where detail(i) gave null
     source.scope           said beside the search field: what it looks through
     source.shown(entries)  told which entries are in view, where it is given: snippets can be fetched for them, then `repaint`

   update(index) shows a longer index of the same run and keeps filters, place and selection; repaint() draws the list again;
   show(id) goes to a trajectory. A page may hold several browsers. selfevoBrowser.el, .visible and .number are for others that show what a run holds.

   Index (selfevo/report/entries.py makes it). Entry i is one trajectory; "runs" are [[value, count], ...]:
     tables   [{path, stage, kind, iteration, rows}]   kind is rollout or evaluate; rows: trajectories in the table
     total    trajectories in all tables;  entries  how many of them have an entry
     table    runs of numbers into `tables`;  row  row numbers inside the tables, or null where every row has an entry, in order
     names    {role, status, category: [...]}; role, status, category  runs of numbers into these
     reward, level, length   one number per entry, null for none; length is in generated tokens

   Detail (selfevo/report/details.py makes it; absent means none):
     id, policy, episode, parent, prefix, keys, memories {name: version}, error, feedback, rewards {name: number}, keep,
     problems [[part, status, message]], verdicts, info, advantage {name: number}, cost {name: number}
     task {id, vars: [[name, text]], answer, category, difficulty, origin, parent}
     turns [{source, text, left, tail, version, finish, cuts, logp, adv}]: `text` is the beginning, `left` characters are left out
       before `tail`; cuts are the lengths of the tokens in UTF-16 units of `text`, logp and adv one number per token (or null)
     tree [{id, parent, prefix, entry, note}]: the trajectories of the same tree; where absent it is made of the details in the page

   Everything is shown through textContent: no text of a model can become an element, an attribute or a script. */
"use strict";
const selfevoBrowser = (() => {
  const ROW = 30, EXTRA = 8, MOST = 16000000;
  let started = 0;
  const SOURCES = ["policy", "tool", "env", "teacher", "judge", "data"];

  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name === "text") node.textContent = value;
      else if (name === "class") node.className = value;
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter(child => child !== null));
    return node;
  }

  /* Control characters as pictures, direction and invisible marks by number: nothing may hide or reorder what was written. */
  function visible(text) {
    return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, c => c === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + c.charCodeAt(0)))
      .replace(/[\u0080-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g,
        c => "\u27e8U+" + c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0") + "\u27e9");
  }

  const number = value => value === null || value === undefined || Number.isNaN(value) ? "\u2013"
    : Number.isInteger(value) ? value.toLocaleString("en") : Math.abs(value) >= 0.001 ? String(+value.toPrecision(4)) : value.toExponential(2);

  function spread(runs, count, Type) {
    const out = new Type(count);
    let at = 0;
    for (const [value, n] of runs) { out.fill(value, at, at + n); at += n; }
    return out;
  }

  function unpack(index) {
    const n = index.entries;
    const floats = values => Float64Array.from(values, v => v === null ? NaN : v);
    const table = spread(index.table, n, Int32Array), row = new Int32Array(n), counts = new Map();
    for (let i = 0; i < n; i++) {
      if (index.row) { row[i] = index.row[i]; continue; }
      row[i] = counts.get(table[i]) || 0;
      counts.set(table[i], row[i] + 1);
    }
    return {n, table, row, role: spread(index.role, n, Int32Array), status: spread(index.status, n, Int32Array),
      category: spread(index.category, n, Int32Array), reward: floats(index.reward), level: floats(index.level), length: floats(index.length)};
  }

  function start(root, source) {
    let index = source.index, data = unpack(index), shown = [], active = -1, selected = -1, turnColour = "", wanted = 0, filtering = 0;
    const own = started++ ? `${started}-` : "";
    root.replaceChildren();
    root.classList.add("browser");

    /* the filter */
    const fields = {};
    function field(name, label, input) {
      input.id = "filter-" + own + name;
      input.name = name;
      input.autocomplete = "off";
      fields[name] = input;
      return el("div", {class: "field " + name}, el("label", {for: input.id, text: label}), input);
    }
    const select = () => el("select");
    const num = placeholder => el("input", {type: "number", step: "any", placeholder});
    const reset = el("button", {type: "button", text: "Clear"});
    const count = el("p", {class: "count", role: "status", "aria-live": "polite"});
    const form = el("form", {class: "filters", role: "search", "aria-label": "Filter trajectories"},
      field("text", "Search " + source.scope, el("input", {type: "search", placeholder: "press / to search"})),
      field("stage", "Stage", select()), field("role", "Role", select()), field("status", "Status", select()),
      field("category", "Category", select()),
      el("fieldset", {class: "field range"}, el("legend", {text: "Iteration"}), range("from", "to", "iteration")),
      el("fieldset", {class: "field range"}, el("legend", {text: "Reward"}), range("low", "high", "reward")),
      field("order", "Order", select()), field("whole", "With text here", el("input", {type: "checkbox"})), reset);
    function range(a, b, what) {
      const box = el("div", {class: "ends"});
      for (const [name, placeholder] of [[a, "from"], [b, "to"]]) {
        const input = num(placeholder);
        input.setAttribute("aria-label", what + " " + placeholder);
        input.name = name;
        input.id = "filter-" + own + name;
        fields[name] = input;
        box.append(input);
      }
      return box;
    }
    function options(name, values, all) {
      const before = fields[name].value;
      const made = values.map(([value, label]) => el("option", {value, text: visible(label)}));
      fields[name].replaceChildren(...(all ? [el("option", {value: "", text: all})] : []), ...made);
      if ([...fields[name].options].some(o => o.value === before)) fields[name].value = before;
      fields[name].closest(".field").hidden = values.length < 2;
    }
    function fill() {
      const numbered = names => names.map((name, i) => [String(i), name || "(none)"]);
      options("stage", [...new Set(index.tables.map(t => t.stage))].map(s => [s, s]), "all");
      for (const name of ["role", "status", "category"]) options(name, numbered(index.names[name]), "all");
      root.classList.toggle("one-role", index.names.role.length < 2);
      options("order", [["", "as committed"], ["high", "highest reward"], ["low", "lowest reward"], ["long", "longest"]], null);
      let some = false;
      for (let i = 0; i < data.n && !some; i++) some = !source.known(i);
      fields.whole.closest(".field").hidden = !some;
    }

    /* the list */
    const rows = el("div", {class: "rows"});
    const list = el("div", {class: "list", role: "listbox", tabindex: "0", "aria-label": "Trajectories: arrows to move, Enter to read"}, rows);
    const head = el("div", {class: "row head", "aria-hidden": "true"}, ...["where", "role", "status", "reward", "tokens", "task"].map(
      name => el("span", {class: name, text: name})));
    const detail = el("article", {class: "detail", tabindex: "-1", "aria-live": "off", "aria-label": "Trajectory"},
      el("p", {class: "hint", text: "Choose a trajectory to read it."}));
    root.append(form, count, el("div", {class: "panes"}, el("div", {class: "left"}, head, list), detail));

    const where = i => index.tables[data.table[i]].path + "/" + index.tables[data.table[i]].stage;
    function item(place) {
      const i = shown[place];
      const status = index.names.status[data.status[i]];
      const cell = (name, text) => el("span", {class: name, text: visible(text)});
      const row = el("div", {class: "row" + (source.known(i) ? "" : " pale") + (place === active ? " active" : ""), role: "option",
        id: "entry-" + own + place, "aria-selected": String(i === selected), "aria-setsize": shown.length, "aria-posinset": place + 1},
        cell("where", where(i)), cell("role", index.names.role[data.role[i]]), cell("status " + (/^\w+$/.test(status) ? status : ""), status),
        cell("reward", number(data.reward[i])), cell("tokens", number(data.length[i])), cell("task", source.snippet(i)));
      row.style.top = offset(place) + "px";
      row.addEventListener("click", () => { move(place); list.focus(); });
      return row;
    }
    /* Browsers limit the height of an element: beyond MOST pixels the list is scaled, and rows keep to the top of the window. */
    const full = () => Math.min(MOST, shown.length * ROW);
    const first = () => shown.length * ROW <= MOST ? list.scrollTop / ROW
      : list.scrollTop / Math.max(1, full() - list.clientHeight) * Math.max(0, shown.length - list.clientHeight / ROW);
    const offset = place => shown.length * ROW <= MOST ? place * ROW : list.scrollTop + (place - first()) * ROW;
    function paint() {
      rows.style.height = full() + "px";
      const from = Math.max(0, Math.floor(first()) - EXTRA);
      const to = Math.min(shown.length, Math.ceil(first() + list.clientHeight / ROW) + EXTRA);
      const made = [];
      for (let place = from; place < to; place++) made.push(item(place));
      rows.replaceChildren(...made);
      if (active >= from && active < to) list.setAttribute("aria-activedescendant", "entry-" + own + active);
      else list.removeAttribute("aria-activedescendant");
      if (source.shown) source.shown(shown.slice(from, to));
    }
    let waiting = false;
    list.addEventListener("scroll", () => {
      if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; paint(); }); }
    }, {passive: true});
    if (window.ResizeObserver) new ResizeObserver(() => paint()).observe(list);

    function reveal(place) {
      const room = list.clientHeight / ROW;
      let target = null;
      if (place < first()) target = place;
      else if (place + 1 > first() + room) target = place + 1 - room;
      if (target === null) return;
      list.scrollTop = shown.length * ROW <= MOST ? target * ROW : target / Math.max(1, shown.length - room) * (full() - list.clientHeight);
    }
    function move(place) {
      if (!shown.length) return;
      active = Math.max(0, Math.min(shown.length - 1, place));
      reveal(active);
      choose(shown[active]);
      paint();
    }
    list.addEventListener("keydown", event => {
      const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
      const to = {ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0, End: shown.length - 1};
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key in to) { event.preventDefault(); move(to[event.key]); }
      else if (event.key === "Enter" && active >= 0) { event.preventDefault(); detail.focus(); }
    });
    detail.addEventListener("keydown", event => { if (event.key === "Escape") list.focus(); });
    document.addEventListener("keydown", event => {
      const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
      if (event.key === "/" && !typing && root.getClientRects().length && !event.ctrlKey && !event.altKey && !event.metaKey) { event.preventDefault(); fields.text.focus(); }
    });
    fields.text.addEventListener("keydown", event => {
      if (event.key === "Escape" && !fields.text.value) list.focus();
    });

    async function filter() {
      const mine = ++filtering;
      const text = fields.text.value.trim();
      const found = text ? await source.search(text) : null;
      if (mine !== filtering) return;
      const pick = name => fields[name].value === "" ? null : +fields[name].value;
      const role = pick("role"), status = pick("status"), category = pick("category"), low = pick("low"), high = pick("high");
      const from = pick("from"), to = pick("to"), stage = fields.stage.value, whole = fields.whole.checked;
      const tables = index.tables.map(t => (!stage || t.stage === stage) && (from === null || t.iteration >= from) && (to === null || t.iteration <= to));
      const out = [];
      for (let i = 0; i < data.n; i++) {
        if (!tables[data.table[i]] || (role !== null && data.role[i] !== role) || (status !== null && data.status[i] !== status)) continue;
        if (category !== null && data.category[i] !== category) continue;
        if ((low !== null && !(data.reward[i] >= low)) || (high !== null && !(data.reward[i] <= high))) continue;
        if ((whole && !source.known(i)) || (found && !found.has(i))) continue;
        out.push(i);
      }
      const order = fields.order.value;
      const by = {high: i => data.reward[i], low: i => -data.reward[i], long: i => data.length[i]}[order];
      if (by) out.sort((a, b) => (Number.isNaN(by(a)) ? 1 : 0) - (Number.isNaN(by(b)) ? 1 : 0) || by(b) - by(a) || a - b);
      shown = out;
      active = selected < 0 ? -1 : shown.indexOf(selected);
      const listed = index.entries < index.total ? ` listed, of ${number(index.total)} in the run` : "";
      count.textContent = `${number(shown.length)} of ${number(data.n)} trajectories${listed}`;
      if (active < 0) list.scrollTop = 0;
      paint();
      if (active >= 0) reveal(active);
    }
    let timer = 0;
    form.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(filter, 120); });
    form.addEventListener("submit", event => event.preventDefault());
    reset.addEventListener("click", () => { form.reset(); filter(); });

    /* one trajectory */
    async function choose(i) {
      selected = i;
      const mine = ++wanted;
      const d = await source.detail(i);
      if (mine === wanted) show(i, d);
    }
    async function follow(id) {
      const i = await source.find(id);
      if (i < 0) return;
      active = shown.indexOf(i);
      if (active >= 0) move(active);
      else { await choose(i); paint(); }
      detail.focus();
    }
    function facts(pairs) {
      const kept = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
      return kept.length ? el("dl", {class: "facts"}, ...kept.map(([name, value]) => el("div", {}, el("dt", {text: visible(name)}),
        el("dd", {text: visible(String(value))})))) : null;
    }
    const entries = (object, write) => Object.entries(object || {}).map(([name, value]) => [name, write ? write(value) : value]);
    function show(i, d) {
      detail.scrollTop = 0;
      if (!d) {
        detail.replaceChildren(el("h3", {text: where(i) + ", row " + data.row[i]}), el("p", {class: "hint", text: source.missing(i)}));
        return;
      }
      const score = Number.isNaN(data.reward[i]) ? "not judged" : "reward " + number(data.reward[i]);
      const status = index.names.status[data.status[i]];
      detail.replaceChildren(...[
        el("h3", {text: visible(d.id)}),
        facts([["status", status], ["reward", score === "not judged" ? score : number(data.reward[i])],
          ...entries(d.rewards, number).filter(([name]) => name !== "score"), ...entries(d.advantage, number).map(([n, v]) => ["advantage " + n, v]),
          ["kept for training", d.keep === false ? "no" : null]]),
        d.error ? el("p", {class: "trouble", text: "episode: " + visible(d.error)}) : null,
        ...(d.problems || []).map(([part, what, message]) => el("p", {class: "trouble", text: visible(`${part}: ${what}. ${message}`)})),
        task(d.task), colours(d), el("div", {class: "turns"}, ...(d.turns || []).map(turn)),
        d.feedback ? block("feedback", "judge", d.feedback) : null, tree(i, d), more(d)].filter(node => node !== null));
    }
    function block(name, kind, text) {
      return el("section", {class: "turn " + kind}, el("h4", {text: name}), el("pre", {dir: "ltr", text: visible(text)}));
    }
    function task(t) {
      if (!t) return null;
      const pairs = [...(t.vars || []), ...(t.answer === null || t.answer === undefined ? [] : [["reference", t.answer]])];
      const of = [t.category, t.difficulty === null || t.difficulty === undefined ? null : "level " + number(t.difficulty),
        t.origin && t.origin !== t.category ? "from " + t.origin : null].filter(x => x).join(", ");
      return el("section", {class: "task"}, el("h4", {text: visible("task" + (of ? ": " + of : ""))}), el("dl", {}, ...pairs.map(([name, value]) =>
        el("div", {}, el("dt", {text: visible(name)}), el("dd", {}, el("pre", {dir: "ltr", text: visible(value)}))))));
    }
    function colours(d) {
      const has = name => (d.turns || []).some(t => t[name] && t.cuts);
      const kinds = [["adv", "advantage"], ["logp", "log-prob"]].filter(([name]) => has(name));
      if (!kinds.length) return null;
      if (!kinds.some(([name]) => name === turnColour)) turnColour = turnColour === "" ? "" : kinds[0][0];
      const chosen = el("select", {id: "colour-" + own}, el("option", {value: "", text: "nothing"}), ...kinds.map(([value, text]) => el("option", {value, text})));
      chosen.value = turnColour;
      const key = el("span", {class: "scale"});
      const legend = () => {
        const stops = {adv: [["token neg", 1, "\u22642 (discouraged)"], ["token", 0, "0"], ["token pos", 1, "\u22652 (encouraged)"]],
          logp: [["token", 0, "0 (sure)"], ["token rare", 0.5, "\u22122"], ["token rare", 1, "\u22644 (surprising)"]]}[turnColour] || [];
        key.replaceChildren(...stops.map(([name, depth, text]) => {
          const mark = el("span", {class: name, text: text.replace("\u22642", "\u2264 \u22122").replace("\u22652", "\u2265 2").replace("\u22644", "\u2264 \u22124")});
          mark.style.setProperty("--depth", Math.round(100 * depth) + "%");
          return mark;
        }));
      };
      chosen.addEventListener("change", () => {
        turnColour = chosen.value;
        legend();
        detail.querySelector(".turns").replaceChildren(...d.turns.map(turn));
      });
      legend();
      return el("p", {class: "colours"}, el("label", {for: "colour-" + own, text: "Colour tokens by"}), chosen, key);
    }
    function turn(t) {
      const kind = SOURCES.includes(t.source) ? t.source : "other";
      const pre = el("pre", {dir: "ltr"});
      const values = turnColour && t.cuts ? t[turnColour] : null;
      if (values) {
        let at = 0;
        t.cuts.forEach((width, k) => {
          const text = t.text.slice(at, at + width), value = values[k];
          at += width;
          const span = el("span", {class: "token" + (value === null ? "" : turnColour === "logp" ? " rare" : value < 0 ? " neg" : value > 0 ? " pos" : ""),
            text: width ? visible(text) : "\u25aa",
            title: [`token ${k + 1}`, t.adv && t.adv[k] !== null ? "advantage " + number(t.adv[k]) : "", t.logp && t.logp[k] !== null
              ? `log-prob ${number(t.logp[k])} (p ${number(Math.exp(t.logp[k]))})` : ""].filter(x => x).join(", ")});
          if (value !== null) span.style.setProperty("--depth", Math.round(100 * Math.min(1, Math.abs(value) / (turnColour === "logp" ? 4 : 2))) + "%");
          pre.append(span);
        });
        pre.append(visible(t.text.slice(at)));
      } else pre.textContent = visible(t.text);
      if (t.left) pre.append(el("span", {class: "left-out", text: `\n[\u2026 ${number(t.left)} characters left out \u2026]\n`}), visible(t.tail || ""));
      const notes = [t.version, t.finish === "length" ? "cut off at its limit" : ""].filter(x => x).join(", ");
      return el("section", {class: "turn " + kind}, el("h4", {}, visible(t.source), ...(notes ? [el("small", {text: " " + visible(notes)})] : [])), pre);
    }
    function tree(i, d) {
      const nodes = d.tree || (source.tree ? source.tree(d) : []);
      if (nodes.length < 2 && !d.parent) return null;
      const children = new Map(), ids = new Set(nodes.map(n => n.id));
      for (const n of nodes) {
        const parent = n.parent && ids.has(n.parent) ? n.parent : "";
        children.set(parent, [...(children.get(parent) || []), n]);
      }
      let left = 200;
      const seen = new Set();
      const branch = parent => {
        const items = (children.get(parent) || []).filter(n => !seen.has(n.id) && left-- > 0);
        items.forEach(n => seen.add(n.id));
        return items.length ? el("ul", {}, ...items.map(n => {
          const here = n.id === d.id;
          const name = here ? el("b", {text: visible(n.id)}) : el("button", {type: "button", class: "link", text: visible(n.id)});
          if (!here) name.addEventListener("click", () => follow(n.id));
          const note = [here ? "this one" : "", n.prefix ? `shares ${number(n.prefix)} tokens` : "", n.note || ""].filter(x => x).join(", ");
          return el("li", {}, name, el("small", {text: note ? " " + visible(note) : ""}), ...[branch(n.id)].filter(x => x !== null));
        })) : null;
      };
      const lost = d.parent && !ids.has(d.parent) ? el("p", {class: "hint", text: visible(
        `Its parent ${d.parent} (first ${number(d.prefix || 0)} tokens shared) is not at hand here.`)}) : null;
      return el("section", {class: "tree"}, el("h4", {text: "Tree"}), ...[lost, branch("")].filter(x => x !== null));
    }
    function more(d) {
      const rest = [["policy", d.policy], ["episode", d.episode], ...entries(d.memories).map(([n, v]) => ["memory " + n, v]),
        ...entries(d.keys).map(([n, v]) => ["key " + n, v]), ...entries(d.info), ...entries(d.verdicts, number), ...entries(d.cost, number)];
      return el("details", {}, el("summary", {text: "Everything else recorded"}), facts(rest) || el("p", {class: "hint", text: "Nothing."}));
    }

    fill();
    filter();
    function update(next) {
      const place = selected < 0 ? null : [where(selected), data.row[selected]];
      index = next;
      data = unpack(next);
      if (place) {
        selected = -1;
        for (let i = 0; i < data.n && selected < 0; i++) if (data.row[i] === place[1] && where(i) === place[0]) selected = i;
      }
      fill();
      filter();
    }
    return {update, repaint: paint, show: follow};
  }

  /* The source of a page that holds everything itself. `details` is {entry number: detail}. */
  function embedded(index, details, rest) {
    const ids = new Map(), kin = new Map(), texts = new Map();
    for (const [key, d] of Object.entries(details)) ids.set(d.id, +key);
    const root = id => {
      const seen = new Set();
      while (ids.has(id) && details[ids.get(id)].parent && ids.has(details[ids.get(id)].parent) && !seen.has(id)) { seen.add(id); id = details[ids.get(id)].parent; }
      return id;
    };
    for (const d of Object.values(details)) { const top = root(d.id); kin.set(top, [...(kin.get(top) || []), d]); }
    const words = d => [d.id, d.error, d.feedback, ...((d.task && d.task.vars) || []).map(v => v[1]), d.task && d.task.answer,
      ...(d.turns || []).flatMap(t => [t.text, t.tail])].filter(x => x).join("\n").toLowerCase();
    return {
      index, scope: Object.keys(details).length < index.total ? "texts in this page" : "",
      known: i => String(i) in details,
      detail: async i => details[i] || null,
      find: async id => ids.has(id) ? ids.get(id) : -1,
      missing: () => rest,
      snippet: i => {
        const d = details[i];
        return d && d.task && d.task.vars && d.task.vars.length ? d.task.vars[0][1].slice(0, 120).replace(/\s+/g, " ") : "";
      },
      search: text => {
        const found = new Set(), wanted = text.toLowerCase();
        for (const [key, d] of Object.entries(details)) {
          if (!texts.has(key)) texts.set(key, words(d));
          if (texts.get(key).includes(wanted)) found.add(+key);
        }
        return found;
      },
      tree: d => (kin.get(root(d.id)) || []).map(n => ({id: n.id, parent: n.parent, prefix: n.prefix, entry: ids.get(n.id),
        note: n.rewards && n.rewards.score !== undefined ? "reward " + number(n.rewards.score) : ""})),
    };
  }

  return {start, embedded, el, visible, number};
})();
(() => {
  const held = document.getElementById("trajectory-data"), place = document.getElementById("browser");
  if (!held || !place) return;
  const {index, details, rest} = JSON.parse(held.textContent);
  document.documentElement.classList.add("scripted");
  selfevoBrowser.start(place, selfevoBrowser.embedded(index, details, rest));
})();
