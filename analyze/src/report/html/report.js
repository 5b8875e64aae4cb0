"use strict";
// The page: what is filtered, kept in the fragment of its address, and everything that is drawn anew when that changes.

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

const filterForm = find("#filters");
const control = (name) => filterForm.elements.namedItem(name);

/** Options have a letter before their value: "" is a value that is not known, and no option. */
function fillFilters() {
  const known = choices();
  for (const name of NAMED) {
    const options = known[name].map(([value, text]) => element("option", { value: `=${value}` }, text));
    control(name).replaceChildren(element("option", { value: "" }, "all"), ...options);
    control(name).value = state.filter[name] === null ? "" : `=${state.filter[name]}`;
    control(name).classList.toggle("set", state.filter[name] !== null);
  }
  const step = Math.min(data.time.bucket, 59);
  for (const [name, first, after] of [["from", "beginning", 0], ["to", "end", 1]]) {
    const options = range(0, data.time.buckets - 1).map((bucket) => element("option", { value: `=${bucket}` }, show.clock(bucketBegins(bucket + after), step)));
    control(name).replaceChildren(element("option", { value: "" }, first), ...options);
    control(name).value = state.filter[name] === null ? "" : `=${state.filter[name]}`;
    control(name).classList.toggle("set", state.filter[name] !== null);
  }
  find("#reset").disabled = Object.values(state.filter).every((value) => value === null);
}

function fillTiles({ total }, side) {
  const near = (column) => (isNear(total, column) ? "≈ " : "");
  const share = total.requests < side.total.requests ? `of ${show.count(side.total.requests)}` : "all";
  const tiles = [
    ["requests", "Requests", total.requests, show.count(total.requests), total.incomplete > 0 ? `${show.count(total.incomplete)} without a full response` : share],
    ["rate", "Per second", total.rate, show.three(total.rate), "on average"],
    ["errors", "Errors", total.error_ratio, show.percent(total.error_ratio), `${show.count(total.errors)} of ${show.count(total.requests)}`],
    ...["avg", "p50", "p95", "p99", "max"].map((name) => {
      const ms = total[`${name}_ms`];
      const notes = { avg: "mean duration", p50: "median", p95: "95th percentile", p99: "99th percentile", max: "slowest request" };
      return [name, name, ms, near(name) + show.duration(ms), notes[name]];
    }),
  ];
  find("#tiles").replaceChildren(
    ...tiles.map(([id, title, value, text, note]) =>
      element(
        "div",
        { class: id === "errors" && total.errors > 0 ? "tile bad" : "tile", "data-tile": id },
        element("dt", {}, title),
        element("dd", {}, element("data", { value: value === null ? "" : String(value) }, text)),
        element("dd", { class: "note" }, note),
      ),
    ),
  );
}

function fillNotes(answer) {
  const notes = [`Charts have a value for every ${show.duration(data.time.bucket * 1e3)}; a request counts when it began.`];
  if (answer.total.near || answer.routes.some((row) => row.near)) {
    notes.push("≈ is taken from a histogram, and within 3.1% of the exact figure. Percentiles in charts are, too.");
  } else {
    notes.push("Percentiles in charts are within 3.1% of the exact ones.");
  }
  if (data.limits.unnamed > 0) {
    notes.push(
      `There are more than ${show.count(data.limits.groups)} combinations of service, method, route and status: ${show.count(data.limits.unnamed)} ` +
        "requests of further ones are only told apart by class of status, and are left out where a service, method or route is chosen.",
    );
  }
  find("#notes").textContent = notes.join(" ");
}

function fillTables(answer) {
  const side = sides[state.side];
  const { filter } = state;
  const several = side.by_service.rows.length > 1;
  const filterable = new Set(side.groups.filter((group) => group.named).map((group) => group.key));
  const routeOf = (row) => {
    const names = { method: row.method ?? "", route: row.route ?? "" };
    return several ? { ...names, service: row.service ?? "" } : names;
  };
  const chosenRoute = (row) => Object.entries(routeOf(row)).every(([name, value]) => filter[name] === value);
  const chooseRoute = (row) => {
    if (!filterable.has(keyOf(row))) return null;
    const none = Object.fromEntries(Object.keys(routeOf(row)).map((name) => [name, null]));
    return () => filterAndReturn(chosenRoute(row) ? none : routeOf(row));
  };
  const routeLabel = (row) => {
    const names = [several ? row.service : null, row.method, row.route];
    return names.filter((name, index) => index > 0 || several).map((name) => show.printable(name ?? "") || "–").join(" ");
  };
  const routes = { label: routeLabel, chosen: chosenRoute, choose: chooseRoute, marked: true };
  const unfiltered = Object.values(filter).every((value) => value === null);
  const leftOut = (table) => (unfiltered ? table.left_out : 0);
  const isGrpc = (row) => side.grpc.has(keyOf(row));
  const http = answer.routes.filter((row) => !isGrpc(row));
  fillTable("routes", { ...routes, title: "Routes", what: "route", rows: http, leftOut: leftOut(side.by_route) });
  fillTable("methods", { ...routes, title: "gRPC methods", what: "method", rows: answer.routes.filter(isGrpc), leftOut: 0 });

  const statusValue = (row) => row.further ?? statusOf(row);
  fillTable("statuses", {
    title: "Statuses",
    what: "status",
    rows: answer.statuses,
    leftOut: leftOut(side.by_status),
    label: (row) => (row.further ? `${CLASS_NAMES[row.further]}, further names` : statusOf(row)),
    chosen: (row) => filter.status === statusValue(row),
    choose: (row) => () => filterAndReturn({ status: filter.status === statusValue(row) ? null : statusValue(row) }),
    marked: false,
  });
  fillTable("services", {
    title: "Services",
    what: "service",
    rows: several ? answer.services : [],
    leftOut: leftOut(side.by_service),
    label: (row) => show.printable(row.service ?? "") || "–",
    chosen: (row) => filter.service === (row.service ?? ""),
    choose: (row) => () => filterAndReturn({ service: filter.service === (row.service ?? "") ? null : (row.service ?? "") }),
    marked: true,
  });
}

/** Filters, and puts the focus back to the row it came from, which is made anew. */
function filterAndReturn(changes) {
  const row = document.activeElement?.closest("tr[data-name]");
  const [table, name] = [row?.closest("section")?.id, row?.dataset.name];
  filterBy(changes);
  if (!table) return;
  const again = [...document.querySelectorAll(`#${table} tr[data-name]`)].find((one) => one.dataset.name === name);
  (again ? find("button", again) : find(`#${table} thead button`) ?? find("#reset"))?.focus({ preventScroll: true });
}

function fillSides() {
  const tabs = Object.keys(sides).map((name) => {
    const selected = name === state.side;
    return element(
      "button",
      {
        type: "button",
        role: "tab",
        id: `tab-${name}`,
        "aria-selected": String(selected),
        "aria-controls": "panel",
        tabindex: selected ? 0 : -1,
        click: () => turnTo(name),
      },
      name === "inbound" ? "Inbound" : "Outbound",
      element("span", { class: "muted" }, ` ${show.count(sides[name].total.requests)}`),
    );
  });
  find("#sides").replaceChildren(...tabs);
  find("#panel").setAttribute("aria-labelledby", `tab-${state.side}`);
}

/** Shows another side. Filters by what it does not have are gone. */
function turnTo(name) {
  state.side = name;
  const known = choices();
  for (const one of NAMED) {
    if (state.filter[one] !== null && !known[one].some(([value]) => value === state.filter[one])) state.filter[one] = null;
  }
  writeFragment();
  update();
  find(`#tab-${name}`).focus();
}

/** Where tables of charts go; they are only made where they are looked at. */
const CHART_TABLES = [["over-time", tableOverTime], ["by-duration", tableByDuration]];

let answer = null;

/** Draws everything that depends on the filter. */
function update() {
  if (state.side === null) return;
  answer = ask(state.side, state.filter);
  const side = sides[state.side];
  fillSides();
  fillFilters();
  find("#shown").textContent = `${show.count(answer.total.requests)} of ${show.count(side.total.requests)} ${state.side} requests`;
  fillTiles(answer, side);
  fillNotes(answer);
  fillTables(answer);
  drawAll();
  for (const [id, table] of CHART_TABLES) {
    const details = find(`#${id}`);
    find(".scroll", details).replaceChildren(...(details.open ? [table(answer)] : []));
  }
}

/** Draws what depends on size and colours. */
function drawAll() {
  if (answer === null) return;
  const choose = (from, to) => filterBy({ from, to });
  drawCharts(answer, choose);
  drawHeat(answer, choose);
  drawDistribution(answer);
}

function applyTheme(theme = state.theme ?? (prefersDark.matches ? "dark" : "light")) {
  document.documentElement.dataset.theme = theme;
  find("#theme").textContent = theme === "dark" ? "Light theme" : "Dark theme";
}

function fillHead() {
  const { files } = data;
  const base = (name) => show.printable(name.split("/").at(-1));
  const title = files.length === 1 ? base(files[0].name) : `${show.count(files.length)} files`;
  document.title = `${title} – Beyla Replay`;
  find("#name").textContent = title;
  const fact = (file, label) => file.facts.find((one) => one.label === label)?.text ?? "";
  const [first] = files;
  find("#when").textContent = files.length === 1 ? show.printable([fact(first, "host"), fact(first, "when")].join(" · ")) : files.map((file) => base(file.name)).join(", ");
  const sum = (key) => files.reduce((all, file) => all + file[key], 0);
  const [lost, events] = [sum("lost"), sum("events")];
  const badge = find("#completeness");
  badge.classList.add(data.complete ? "good" : "bad");
  const reason = lost > 0 ? `${show.count(lost)} events lost` : "not read or written to the end";
  badge.textContent = data.complete ? `Complete: nothing lost of ${show.count(events)} events` : `Incomplete: ${reason}`;
  find("#files-short").textContent = `${show.count(events)} events, ${show.count(data.requests)} requests, ${show.count(lost)} lost`;
  find("#files").open = !data.complete || files.some((file) => file.facts.some(({ level }) => level === "warning"));
  const marks = { good: "", plain: "", warning: "! ", bad: "!! " };
  find("#files-facts").replaceChildren(
    ...files.map((file) =>
      element(
        "section",
        {},
        element("h3", {}, show.printable(file.name)),
        element(
          "dl",
          {},
          ...file.facts.map(({ label, text, level }) =>
            element("div", { class: level }, element("dt", {}, label), element("dd", {}, marks[level] + show.printable(text))),
          ),
        ),
      ),
    ),
  );
  find("#foot").textContent = `Made by beyla-analyze ${data.version}. Times are UTC. Figures are those of the outputs text and json.`;
}

function listen() {
  filterForm.addEventListener("change", ({ target }) => {
    const value = target.value === "" ? null : target.value.slice(1);
    const time = target.name === "from" || target.name === "to";
    const changes = { [target.name]: time && value !== null ? Number(value) : value };
    const { from, to } = { ...state.filter, ...changes };
    if (from !== null && to !== null && from > to) changes[target.name === "from" ? "to" : "from"] = null;
    filterBy(changes);
  });
  filterForm.addEventListener("reset", (event) => {
    event.preventDefault();
    filterBy(NO_FILTER);
    control("service").focus();
  });
  filterForm.addEventListener("submit", (event) => event.preventDefault());
  find("#sides").addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    const names = Object.keys(sides);
    if (step) turnTo(names[(names.indexOf(state.side) + step + names.length) % names.length]);
  });
  find("#theme").addEventListener("click", () => {
    state.theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    writeFragment();
    applyTheme();
    drawAll();
  });
  prefersDark.addEventListener("change", () => {
    applyTheme();
    drawAll();
  });
  addEventListener("popstate", restore);
  for (const [id, table] of CHART_TABLES) {
    find(`#${id}`).addEventListener("toggle", ({ target }) => {
      find(".scroll", target).replaceChildren(...(target.open && answer !== null ? [table(answer)] : []));
    });
  }
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    requestAnimationFrame(drawAll);
  });
  document.addEventListener("keydown", ({ key }) => key === "Escape" && tip.hide());
  // On paper: light, as wide as the paper, and with what is folded on the screen.
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("printing");
    find("#files").dataset.was = String(find("#files").open);
    find("#files").open = true;
    applyTheme("light");
    drawAll();
  });
  addEventListener("afterprint", () => {
    document.documentElement.classList.remove("printing");
    find("#files").open = find("#files").dataset.was === "true";
    applyTheme();
    drawAll();
  });
}

/** Shows what the fragment says. */
function restore() {
  readFragment();
  applyTheme();
  update();
}

fillHead();
if (state.side === null) {
  find("#report").hidden = true;
  find("#nothing").hidden = false;
}
listen();
restore();
drawGraph((service) => {
  const on = Object.keys(sides).filter((name) => sides[name].groups.some((group) => group.named && (group.service ?? "") === service));
  if (on.length === 0) return null;
  return () => {
    if (!on.includes(state.side)) [state.side] = on;
    filterBy({ ...NO_FILTER, service });
    find("#panel").scrollIntoView();
  };
});
