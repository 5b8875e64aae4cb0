"use strict";
// The page: controls, and everything that is drawn anew when the state changes.

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
            element("div", { "data-level": level }, element("dt", {}, label), element("dd", {}, marks[level] + show.printable(text))),
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
