"use strict";
// Tiles, notes and tables of an answer of `ask`.

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
