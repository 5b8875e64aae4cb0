"use strict";
// What is shown: a side, what it is filtered by, and the theme. All of it is in the fragment of the page's address.

const state = { side: Object.keys(sides)[0] ?? null, filter: { ...NO_FILTER }, theme: null };

const NAMED = ["service", "method", "route", "status"];
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

/** The state of a fragment. What the data does not have is left out. */
function readFragment() {
  const words = new URLSearchParams(location.hash.slice(1));
  const side = words.get("side");
  state.side = side !== null && Object.hasOwn(sides, side) ? side : (Object.keys(sides)[0] ?? null);
  state.theme = ["dark", "light"].includes(words.get("theme")) ? words.get("theme") : null;
  state.filter = { ...NO_FILTER };
  if (state.side === null) return;
  const known = choices();
  for (const name of NAMED) {
    const value = words.get(name);
    if (value !== null && known[name].some(([one]) => one === value)) state.filter[name] = value;
  }
  for (const name of ["from", "to"]) {
    const bucket = words.has(name) ? Number(words.get(name)) : NaN;
    if (Number.isInteger(bucket) && bucket >= 0 && bucket < data.time.buckets) state.filter[name] = bucket;
  }
  if (state.filter.from !== null && state.filter.to !== null && state.filter.from > state.filter.to) state.filter.to = state.filter.from;
}

function writeFragment() {
  const words = new URLSearchParams();
  if (state.side !== Object.keys(sides)[0]) words.set("side", state.side);
  for (const [name, value] of Object.entries(state.filter)) if (value !== null) words.set(name, value);
  if (state.theme !== null) words.set("theme", state.theme);
  const fragment = `#${words}`;
  if (fragment !== (location.hash || "#")) history.pushState(null, "", fragment);
}

/** Changes the filter, and shows what it selects. */
function filterBy(changes) {
  Object.assign(state.filter, changes);
  writeFragment();
  update();
}

/** The values that each filter can have on this side, with what they are called. */
function choices() {
  const { groups } = sides[state.side];
  const called = (name) => {
    const values = new Set(groups.filter((group) => group.named).map((group) => group[name] ?? ""));
    return [...values].sort().map((value) => [value, show.printable(value) || "not known"]);
  };
  const classes = CLASSES.filter((name) => groups.some((group) => group.kind === name));
  const codes = new Set(groups.filter((group) => group.named).map((group) => group.label));
  const inOrder = [...codes].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return {
    service: called("service"),
    method: called("method"),
    route: called("route"),
    status: [
      ...classes.filter((name) => !codes.has(name)).map((name) => [name, `all ${CLASS_NAMES[name]}`]),
      ...inOrder.map((code) => [code, code === "none" ? "no status" : code]),
    ],
  };
}
