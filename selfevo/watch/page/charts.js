/* Curves: the server draws them, as it does for the report; here they are put into the page and replaced when they change. */
"use strict";
const charts = (() => {
  const {el, visible, number, put} = words;
  const AXES = {iteration: "iterations", tokens: "tokens", seconds: "seconds"};
  let made = 0;

  function svg(text) {
    const parsed = new DOMParser().parseFromString(text.replace(/^<svg /, '<svg xmlns="http://www.w3.org/2000/svg" '), "image/svg+xml");
    const root = parsed.documentElement;
    return root.nodeName === "svg" ? document.importNode(root, true) : el("p", {class: "trouble", text: "Not drawn."});
  }

  function key(place) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    node.setAttribute("class", "key s" + place);
    node.setAttribute("viewBox", "0 0 26 8");
    node.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", "line");
    path.setAttribute("d", "M1,4H25");
    node.append(path);
    return node;
  }

  class Figure {
    constructor(title) {
      this.title = el("span", {text: visible(title)});
      this.note = el("small");
      this.legend = el("ul", {class: "legend"});
      this.picture = el("div", {class: "picture", role: "img"});
      this.body = el("table");
      this.numbers = el("details", {class: "numbers"}, el("summary", {}, "Numbers", el("span", {class: "hidden", text: " of " + visible(title)})),
        el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Numbers of " + visible(title)}, this.body));
      this.numbers.addEventListener("toggle", () => this.table());
      this.node = el("figure", {class: "lines"}, el("figcaption", {}, this.title, " ", this.note), this.legend, this.picture, this.numbers);
    }

    show(chart) {
      if (this.last && JSON.stringify(this.last) === JSON.stringify(chart)) return;
      this.last = chart;
      put(this.note, visible(chart.note));
      this.legend.hidden = chart.curves.length < 2;
      this.legend.replaceChildren(...(chart.curves.length < 2 ? [] : chart.curves.map((label, i) => el("li", {}, key(i), visible(label)))));
      this.picture.setAttribute("aria-label", visible(chart.spoken));
      this.picture.replaceChildren(svg(chart.svg));
      this.table();
    }

    table() {
      if (!this.numbers.open || !this.last) return;
      const cell = value => typeof value === "string" ? visible(value) : number(value);
      this.body.replaceChildren(
        el("thead", {}, el("tr", {}, ...this.last.header.map(h => el("th", {scope: "col", class: "n", text: visible(h)})))),
        el("tbody", {}, ...this.last.rows.map(row => el("tr", {}, ...row.map((value, i) =>
          el(i ? "td" : "th", {class: "n", scope: i ? null : "row", text: cell(value)}))))));
    }
  }

  /* Charts of some runs, with a choice of what x is and of further metrics. */
  class Charts {
    constructor(runs) {
      this.runs = runs;
      this.number = made++;
      this.figures = new Map();
      this.more = [];
      this.x = el("select", {id: `axis-${this.number}`}, ...Object.entries(AXES).map(([value, text]) => el("option", {value, text})));
      this.pick = el("select", {id: `more-${this.number}`});
      this.grid = el("div", {class: "charts"});
      this.constant = el("p", {class: "constant"});
      this.hint = el("p", {class: "constant", text: "No curve yet: nothing that has one is committed."});
      const field = (label, input) => el("div", {class: "field"}, el("label", {for: input.id, text: label}), input);
      this.node = el("section", {class: "curves"}, el("h3", {text: "Learning curves"}), el("form", {class: "filters"},
        field("Over", this.x), field("Add a curve", this.pick)), this.hint, this.grid, this.constant);
      this.x.addEventListener("change", () => this.refresh());
      this.pick.addEventListener("change", () => {
        if (this.pick.value && !this.more.includes(this.pick.value)) this.more.push(this.pick.value);
        this.pick.value = "";
        this.refresh();
      });
      this.metrics([]);
    }

    metrics(names) {
      const text = names.join("\n");
      if (this.named === text) return;
      this.named = text;
      this.pick.closest(".field").hidden = !names.length;
      this.pick.replaceChildren(el("option", {value: "", text: "choose a metric"}), ...names.map(n => el("option", {value: n, text: visible(n)})));
    }

    async refresh() {
      const query = [...this.runs.map(id => ["run", id]), ["x", this.x.value], ...this.more.map(name => ["more", name])];
      const {value} = await link.get("/api/curves", query, "curves-" + this.number);
      this.hint.hidden = value.charts.length + value.constant.length > 0;
      const same = value.constant.map(([title, is]) => `${title} = ${number(is)}`).join(", ");
      put(this.constant, visible(same && `Did not change: ${same}.`));
      const shown = value.charts.map(chart => {
        if (!this.figures.has(chart.title)) this.figures.set(chart.title, new Figure(chart.title));
        const figure = this.figures.get(chart.title);
        figure.show(chart);
        return figure.node;
      });
      if (shown.length !== this.grid.children.length || shown.some((node, i) => node !== this.grid.children[i])) this.grid.replaceChildren(...shown);
    }
  }
  return {Charts};
})();
