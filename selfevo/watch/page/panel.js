/* What an opened run shows, and the comparison of all opened ones. */
"use strict";
const panels = (() => {
  const {el, visible, number, duration, ago, state, put} = words;
  const KINDS = ["start", "generate", "score", "train", "io", "other"];

  /* A table whose body is filled anew when it changes. */
  function table(caption, header) {
    const body = el("tbody");
    const node = el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": caption}, el("table", {}, el("caption", {text: caption}),
      el("thead", {}, el("tr", {}, ...header.map(([text, n]) => el("th", {scope: "col", class: n ? "n" : null, text})))), body));
    return {node, fill(rows) {  // cells are texts or elements
      const text = JSON.stringify(rows.map(cells => cells.map(value => value.nodeType ? value.title : value)));
      if (node.dataset.held === text) return;
      node.dataset.held = text;
      body.replaceChildren(...rows.map(cells => el("tr", {}, ...cells.map((value, i) =>
        el(i ? "td" : "th", {scope: i ? null : "row", class: header[i][1] ? "n" : null},
          value.nodeType ? value : visible(String(value)))))));
      node.hidden = !rows.length;
    }};
  }

  const interval = m => number(m.value) + (m.low === null || m.high === null ? "" : ` [${number(m.low)}, ${number(m.high)}]`);

  class Panel {
    constructor(id, close) {
      this.id = id;
      this.charts = new charts.Charts([id]);
      this.title = el("h2");
      this.chip = el("span", {class: "slot"});
      this.why = el("p", {class: "why"});
      this.trouble = el("p", {class: "trouble", hidden: true});
      this.bar = el("div", {class: "wide-bar", role: "progressbar", "aria-label": "Iterations", "aria-valuemin": "0"}, el("span"));
      this.count = el("p", {class: "constant progress-words"});
      this.steps = el("ol", {class: "steps", "aria-label": "Stages of this iteration"});
      this.facts = el("dl", {class: "facts"});
      const shut = el("button", {type: "button", class: "shut", text: "Stop watching"});
      shut.addEventListener("click", close);
      this.gains = table("First and last evaluation of each suite, in brackets the 95% bootstrap interval",
        [["suite"], ["metric"], ["first", 1], ["last", 1], ["change", 1], ["reading"]]);
      this.failed = 0;
      this.failures = table("Failures: a status of their own, never a reward of 0", [["stage"], ["part"], ["what"], ["count", 1], ["latest at"], ["which said"], [""]]);
      this.failures.node.classList.add("failures");
      this.failures.node.hidden = true;
      this.noFailures = el("p", {class: "constant", text: "No part has reported an error, a time-out or an abstention."});
      this.times = el("div", {class: "bar", role: "img"});
      this.legend = el("ul", {class: "legend"});
      this.stages = table("Time of committed stages, the longest first", [["stage"], ["executions", 1], ["seconds", 1]]);
      this.log = el("pre");
      this.logBox = el("details", {class: "log"}, el("summary", {text: "End of log.txt"}), this.log);
      this.specText = el("pre", {text: "\u2026"});
      this.spec = el("details", {}, el("summary", {text: "spec.yaml, resolved"}), this.specText);
      this.spec.addEventListener("toggle", () => this.readSpec(), {once: true});
      this.browse = el("details", {class: "browse"}, el("summary", {text: "Trajectories"}));
      this.browse.addEventListener("toggle", () => this.openBrowser());
      this.node = el("div", {class: "panel"},
        el("header", {}, this.title, this.chip, shut), this.why, this.trouble, this.bar, this.count, this.steps, this.facts,
        this.charts.node, el("section", {}, el("h3", {text: "What improved"}), this.gains.node),
        el("section", {}, el("h3", {text: "Failures"}), this.failures.node, this.noFailures),
        el("section", {class: "browsing"}, el("h3", {text: "Trajectories"}), this.browse),
        el("section", {}, el("h3", {text: "Time"}), this.times, this.legend,
          el("details", {}, el("summary", {text: "Time by stage"}), this.stages.node)),
        el("section", {}, el("h3", {text: "Log and spec"}), this.logBox, this.spec));
    }

    async refresh() {
      const {value} = await link.get(`/api/runs/${this.id}`, null, "panel-" + this.id);
      this.show(value);
      if (value.failures !== this.failed) await this.readFailures(value.failures);
      await this.charts.refresh();
      if (this.trajectories && this.browse.open) await this.trajectories.refresh();
    }

    async readFailures(count) {
      const {value} = await link.get(`/api/runs/${this.id}/failures`);
      this.failures.fill(value.failures.map(f => [f.stage, f.part, f.what, number(f.count), f.last,
        f.message || (f.trajectory ? "(no message)" : "\u2013"), f.trajectory ? this.leads(f.trajectory) : ""]));
      this.failed = count;
    }

    /* A button that shows a trajectory in the browser. */
    leads(id) {
      const button = el("button", {type: "button", class: "shut", title: visible(id), "aria-label": "Show " + visible(id), text: "Show"});
      button.addEventListener("click", () => {
        this.browse.open = true;
        this.openBrowser();
        this.trajectories.go(id).catch(() => {});
      });
      return button;
    }

    async readSpec() {
      const {value} = await link.get(`/api/runs/${this.id}/spec`);
      put(this.specText, visible(value.text));
    }

    openBrowser() {
      if (!this.browse.open) return;
      if (!this.trajectories) {
        this.trajectories = new trajectories.Trajectories(this.id);
        this.browse.append(this.trajectories.node);
      }
      this.trajectories.refresh().catch(() => {});
    }

    show(p) {
      this.data = p;
      put(this.title, visible(p.name));
      if (this.shownState !== p.state) {
        if (this.shownState === undefined) this.logBox.open = p.state === "failed" || p.state === "stale";
        this.shownState = p.state;
        this.chip.replaceChildren(state(p.state, p.why));
      }
      put(this.trouble, visible(p.trouble));
      this.trouble.hidden = !p.trouble;
      this.charts.metrics(p.metrics);
      const steps = JSON.stringify(p.steps);
      if (this.heldSteps !== steps) {
        this.heldSteps = steps;
        this.steps.replaceChildren(...p.steps.map(s => el("li", {class: s.state.replace(" ", "-"), "aria-current": s.state === "at work" ? "step" : null},
          el("b", {text: visible(s.stage)}), el("small", {text: (s.state === "at work" ? "at work" : s.state)
            + (s.usual === null ? "" : `, usually ${duration(s.usual)}`)}))));
        this.steps.hidden = !p.steps.length;
      }
      const facts = [["folder", p.label], ...p.facts];
      if (this.heldFacts !== JSON.stringify(facts)) {
        this.heldFacts = JSON.stringify(facts);
        this.facts.replaceChildren(...facts.map(([name, text]) => el("div", {}, el("dt", {text: name}), el("dd", {text: visible(text)}))));
      }
      this.gains.fill(p.gains.map(g => [g.suite, g.metric, interval(g.first), interval(g.last), (g.change > 0 ? "+" : "") + number(g.change), g.verdict]));
      this.gains.node.parentNode.hidden = !p.gains.length;
      this.noFailures.hidden = p.failures > 0;
      this.showTimes(p);
      const foot = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 30;
      put(this.log, visible(p.log) || "(empty)");
      if (foot) this.log.scrollTop = this.log.scrollHeight;
      put(this.browse.firstChild, p.tables ? `Browse the trajectories of ${number(p.tables)} table${p.tables === 1 ? "" : "s"}` : "No trajectory has been committed yet");
    }

    showTimes(p) {
      const total = Object.values(p.times).reduce((a, b) => a + b, 0);
      const kinds = KINDS.filter(k => p.times[k] > 0);
      this.times.parentNode.hidden = !total;
      this.times.setAttribute("aria-label", kinds.map(k => `${k} ${Math.round(100 * p.times[k] / total)}%`).join("; "));
      this.times.replaceChildren(...kinds.map((k, i) => {
        const part = el("span", {class: "s" + i, title: `${k}: ${duration(p.times[k])}`});
        part.style.flexGrow = String(100 * p.times[k] / total);
        return part;
      }));
      this.legend.replaceChildren(...kinds.map((k, i) => el("li", {}, el("span", {class: "swatch s" + i}),
        `${k} ${Math.round(100 * p.times[k] / total)}%`)));
      this.stages.fill(p.stages.map(s => [s.stage, number(s.executions), duration(s.seconds)]));
    }

    /* What goes on by the clock, from the overview's row. */
    tick(row, now) {
      if (!row || row.version === undefined) return;
      const since = Math.max(0, now - row.changed);
      const at = row.state === "running" && row.stage ? `: ${row.stage}, for ${duration(Math.floor(since))}` : `; last change ${ago(since)}`;
      put(this.why, visible((row.why || "") + at));
      const rest = overview.left(row, now);
      const percent = row.total ? 100 * row.iteration / row.total : 0;
      this.bar.hidden = !row.total;
      this.bar.firstChild.style.setProperty("width", percent + "%");
      this.bar.setAttribute("aria-valuemax", String(row.total));
      this.bar.setAttribute("aria-valuenow", String(row.iteration));
      put(this.count, (row.total ? `Iteration ${number(row.iteration)} of ${number(row.total)} committed, ` : "")
        + `${duration(overview.elapsed(row, now))} ${row.state === "running" ? "so far" : "in all"}` + (rest === null ? "" : rest < 1 ? ", done soon" : `, about ${duration(rest)} left`));
    }
  }

  /* Curves of several runs in the same axes. */
  class Comparison {
    constructor() {
      this.charts = new charts.Charts([]);
      this.node = el("div", {class: "panel"}, el("header", {}, el("h2", {text: "Compared"})),
        el("p", {class: "constant", text: "The opened runs in the same axes. At equal tokens or seconds, evaluations are left out of the cost, as in selfevo compare, which also tests differences."}),
        this.charts.node);
    }

    over(ids) {
      if (this.charts.runs.join() !== ids.join()) this.charts.runs = ids;
    }

    metrics(names) { this.charts.metrics(names); }

    refresh() { return this.charts.refresh(); }

    tick() {}
  }

  return {Panel, Comparison};
})();
