"use strict";
// What all scripts use: the data, numbers as people read them (the same as in the text report), and elements.
// Texts of the data come from the network: they only ever become text nodes.

const data = JSON.parse(document.getElementById("data").textContent);

/** Numbers with three significant digits, thousands apart, units that fit. Null is a dash. */
const show = {
  count: (number) => (number === null ? "–" : Math.round(number).toLocaleString("en-US")),

  three(value) {
    if (value === null) return "–";
    if (value === 0) return "0";
    if (value < 9.995) return value.toFixed(2);
    if (value < 99.95) return value.toFixed(1);
    return show.count(value);
  },

  duration(ms) {
    if (ms === null) return "–";
    if (ms < 0.0009995) return `${(ms * 1e6).toFixed(0)} ns`;
    if (ms < 0.9995) return `${show.three(ms * 1e3)} µs`;
    if (ms < 999.5) return `${show.three(ms)} ms`;
    return `${show.three(ms / 1e3)} s`;
  },

  /** A round number of its unit, for axes: 20 µs, 1 ms. */
  tick(ms) {
    const [value, unit] = ms < 0.00099 ? [ms * 1e6, "ns"] : ms < 0.99 ? [ms * 1e3, "µs"] : ms < 990 ? [ms, "ms"] : [ms / 1e3, "s"];
    return `${Number(value.toPrecision(3)).toLocaleString("en-US")} ${unit}`;
  },

  percent(ratio) {
    if (ratio === null) return "–";
    if (ratio > 0 && ratio < 0.00005) return "<0.01%";
    if (ratio >= 0.99995 && ratio < 1) return ">99.99%";
    return `${(ratio * 100).toFixed(2)}%`;
  },

  /** Time of day, UTC; `step` seconds tell how exact it has to be. */
  clock(seconds, step) {
    // Not a date at all beyond what the calendar of browsers knows.
    const date = new Date(Math.round(seconds * 1e3));
    if (Number.isNaN(date.getTime())) return "?";
    const text = date.toISOString();
    const time = text.slice(text.indexOf("T") + 1, -1);
    if (step < 1) return step < 0.1 ? time : time.slice(0, -2);
    if (step < 60) return time.slice(0, 8);
    return step < 86400 ? time.slice(0, 5) : text.slice(0, text.indexOf("T"));
  },

  /** What could move or reorder text that stands beside it, escaped. */
  printable: (text) =>
    text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g, (char) => {
      return `\\u{${char.codePointAt(0).toString(16)}}`;
    }),
};

/** An element with attributes (a value of null leaves one out, a function listens) and children: nodes or texts. */
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for drawings. */
function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

const find = (selector, within = document) => within.querySelector(selector);

/** The value of a colour of the current theme. */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** What stands beside the pointer: a title and lines of a label and a value, each perhaps with a colour. */
const tip = {
  show(event, title, lines) {
    const node = find("#tip");
    node.replaceChildren(
      element("strong", {}, title),
      ...lines.map(([label, value, swatch]) => {
        const line = element("div", {}, element("span", {}, label), element("b", {}, value));
        if (swatch) {
          const mark = element("i", { class: "swatch" });
          mark.style.background = swatch;
          line.prepend(mark);
        }
        return line;
      }),
    );
    node.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = node;
    const left = event.clientX + 16 + width > innerWidth ? event.clientX - 16 - width : event.clientX + 16;
    node.style.left = `${Math.max(4, left)}px`;
    node.style.top = `${Math.max(4, Math.min(event.clientY + 16, innerHeight - height - 4))}px`;
  },

  hide() {
    find("#tip").hidden = true;
  },
};
