"use strict";
// Tables: routes, gRPC methods, statuses, services. They can be sorted, and their rows filter the page.

/** Rows that a table shows before it is asked for all. */
const FIRST_ROWS = 20;

const NUMBERS = [
  ["requests", "requests", (row) => row.requests, show.count],
  ["per s", "rate", (row) => row.rate, show.three],
  ["errors", "errors", (row) => row.error_ratio, (ratio, row) => (row.errors === 0 ? "0" : show.percent(ratio))],
  ["avg", "avg", (row) => row.avg_ms, show.duration],
  ["p50", "p50", (row) => row.p50_ms, show.duration],
  ["p90", "p90", (row) => row.p90_ms, show.duration],
  ["p95", "p95", (row) => row.p95_ms, show.duration],
  ["p99", "p99", (row) => row.p99_ms, show.duration],
  ["max", "max", (row) => row.max_ms, show.duration],
];

/** Whether a number of a row is near the true one, not exact. */
const isNear = (row, column) => row.near === true && /^p\d/.test(column);

/** How each table is sorted, and whether it shows all rows. Kept while filters change. */
const tableStates = new Map();

/** A table of texts; the first column is a heading. */
function plainTable(caption, titles, rows) {
  const cells = ([first, ...others]) => [element("th", { scope: "row" }, first), ...others.map((text) => element("td", {}, text))];
  return element(
    "table",
    {},
    element("caption", { class: "hidden" }, caption),
    element("thead", {}, element("tr", {}, ...titles.map((title) => element("th", { scope: "col" }, title)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row)))),
  );
}

/**
 * Fills a section with a table of rows like those of the report. `label` is the text of a row, `chosen` tells whether the
 * page is filtered by it, `choose` filters by it, or no longer; null for rows that cannot be filtered by.
 */
function fillTable(id, { title, what, rows, leftOut, label, chosen, choose, marked }) {
  const section = find(`#${id}`);
  section.hidden = rows.length === 0;
  if (section.hidden) return section.replaceChildren();
  const state = tableStates.get(id) ?? { column: "requests", down: true, all: false };
  tableStates.set(id, state);
  const refill = () => fillTable(id, { title, what, rows, leftOut, label, chosen, choose, marked });

  const names = new Map(rows.map((row) => [row, label(row)]));
  const value = state.column === "name" ? (row) => names.get(row) : NUMBERS.find(([, key]) => key === state.column)[2];
  const compare = (a, b) => {
    const [one, other] = [value(a), value(b)];
    if (one === null || other === null) return (one === null) - (other === null);
    const order = typeof one === "string" ? (one < other ? -1 : Number(one > other)) : one - other;
    return state.down ? -order : order;
  };
  const sorted = [...rows].sort(compare);
  const shown = state.all ? sorted : sorted.slice(0, FIRST_ROWS);
  const slowest = marked && rows.length > 1 ? rows.reduce((a, b) => ((b.p95_ms ?? -1) > (a.p95_ms ?? -1) ? b : a)) : null;
  const most = Math.max(...rows.map((row) => row.requests));

  const heading = (text, key) => {
    const sorting = state.column === key ? (state.down ? "descending" : "ascending") : null;
    const click = () => {
      Object.assign(state, { column: key, down: state.column === key ? !state.down : key !== "name" });
      refill();
      find(`[data-sort="${key}"]`, section).focus();
    };
    const arrow = element("span", { class: "arrow", "aria-hidden": "true" }, sorting === null ? "" : state.down ? "↓" : "↑");
    return element("th", { scope: "col", "aria-sort": sorting }, element("button", { type: "button", "data-sort": key, click }, text, arrow));
  };
  const line = (row) => {
    const name = names.get(row);
    const act = choose && choose(row);
    const text = act
      ? element("button", { type: "button", class: "name", "aria-pressed": String(chosen(row)), click: act }, name)
      : element("span", { class: "name" }, name);
    const tag = row === slowest && row.p95_ms !== null ? element("span", { class: "tag" }, "slowest") : null;
    const cells = NUMBERS.map(([, key, get, print]) => {
      const near = isNear(row, key) && get(row) !== null;
      const cell = element("td", { class: key === "errors" && row.errors > 0 ? "bad" : null }, (near ? "≈ " : "") + print(get(row), row));
      if (key === "requests") cell.append(meter(row.requests / most));
      return cell;
    });
    const attributes = { class: act ? "can" : null, "data-name": name };
    if (act) attributes.click = (event) => event.target.closest("button") || act();
    return element("tr", attributes, element("th", { scope: "row" }, text, tag), ...cells);
  };
  const rest = rows.length - shown.length;
  const more = rest > 0 || state.all
    ? element("button", {
      type: "button",
      class: "plain",
      click: () => {
        state.all = !state.all;
        refill();
        find("button.plain", section)?.focus();
      },
    }, state.all ? `Show the first ${FIRST_ROWS}` : `Show ${show.count(rest)} more`)
    : null;
  const left = leftOut > 0 ? element("p", { class: "muted small" }, `${show.count(leftOut)} further ${what} are in the outputs text and json.`) : null;
  section.replaceChildren(
    element("h3", {}, title, element("span", { class: "muted" }, ` ${show.count(rows.length)}`)),
    element(
      "div",
      { class: "scroll" },
      element(
        "table",
        { class: "figures" },
        element("caption", { class: "hidden" }, title),
        element("thead", {}, element("tr", {}, heading(what, "name"), ...NUMBERS.map(([text, key]) => heading(text, key)))),
        element("tbody", {}, ...shown.map(line)),
      ),
    ),
    ...[rest > 0 || (state.all && rows.length > FIRST_ROWS) ? more : null, left].filter((node) => node !== null),
  );
  return undefined;
}

/** A line under a number that is as long as the share it is of the largest one. */
function meter(share) {
  const line = element("i", { class: "meter", "aria-hidden": "true" });
  line.style.width = `${(share * 100).toFixed(1)}%`;
  return line;
}
