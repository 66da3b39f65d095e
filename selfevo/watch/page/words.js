/* How the page writes times and numbers; as the report does. */
"use strict";
const words = (() => {
  const {el, visible, number} = selfevoBrowser;

  function duration(seconds) {
    if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "\u2013";
    if (seconds < 1) return seconds >= 0.0005 ? `${Math.round(1000 * seconds)} ms` : "0 s";
    if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
    const minutes = Math.floor(seconds / 60);
    if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
    if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
    return `${Math.floor(minutes / 1440)} d ${Math.floor(minutes % 1440 / 60)} h`;
  }

  function ago(seconds) {
    if (seconds < 2) return "just now";
    if (seconds < 60) return `${Math.floor(seconds)} s ago`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
    if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
    return `${Math.floor(seconds / 86400)} d ago`;
  }

  function short(value) {
    if (value === null || value === undefined) return "\u2013";
    if (Math.abs(value) < 10000) return number(value);
    for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
      if (Math.abs(value) >= size) return +(value / size).toPrecision(3) + " " + unit;
    }
    return number(value);
  }

  const STATES = {running: "running", done: "done", stopped: "stopped", failed: "failed", stale: "stale", reading: "reading \u2026"};
  function state(name, why) {
    const known = name in STATES ? name : "";
    return el("span", {class: "is " + known, title: visible(why || ""), text: STATES[name] || name});
  }

  /* Puts text where it differs, so that a reader's selection and a screen reader are left in peace. */
  function put(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  return {el, visible, number, duration, ago, short, state, put};
})();
