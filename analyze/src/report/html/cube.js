"use strict";
// Questions to the data: which requests a filter selects, and their figures by time, route, status and service.
// Counts, averages and maxima are always exact. Percentiles are exact where the report has the very group; else they come
// from the histograms, and are within 3.1%.

/** Requests by class of status, in the order in which they are stacked. */
const CLASSES = ["2xx", "grpc ok", "3xx", "1xx", "4xx", "5xx", "grpc error", "other", "none"];

/** Steps of all histograms. */
const STEPS = 61 * data.steps;

/** The first duration of a step, nanoseconds. */
function stepBegins(step) {
  const octave = Math.floor(step / data.steps);
  const part = step % data.steps;
  return octave === 0 ? part : (data.steps + part) * 2 ** (octave - 1);
}

/** What is nearest to every duration of a step, nanoseconds. */
function stepMiddle(step) {
  const [low, high] = [stepBegins(step), stepBegins(step + 1) - 1];
  return (low + high) / 2;
}

/** Sums of requests. */
class Sums {
  requests = 0;
  errors = 0;
  incomplete = 0;
  sum = 0;
  max = 0;
  timed = 0;
  steps = new Float64Array(STEPS);

  /** Adds a cell: bucket, requests, errors, incomplete, sum and maximum of durations, steps and their counts. */
  add([, requests, errors, incomplete, sum, max, steps]) {
    this.requests += requests;
    this.errors += errors;
    this.incomplete += incomplete;
    this.sum += sum;
    this.max = Math.max(this.max, max);
    for (let at = 0; at < steps.length; at += 2) {
      this.steps[steps[at]] += steps[at + 1];
      this.timed += steps[at + 1];
    }
  }

  /** Milliseconds: the smallest duration that so many percent do not exceed. Null without durations. */
  percentile(percent) {
    if (this.timed === 0) return null;
    const rank = Math.ceil((this.timed * percent) / 100);
    if (rank >= this.timed) return this.max / 1e6;
    let seen = 0;
    for (let step = 0; step < STEPS; step += 1) {
      seen += this.steps[step];
      if (seen >= rank) return Math.min(stepMiddle(step), this.max) / 1e6;
    }
    return this.max / 1e6;
  }

  /** A row like those of the report. */
  row(name, seconds) {
    const { requests, errors, incomplete, timed } = this;
    return {
      ...name,
      requests,
      rate: seconds > 0 ? requests / seconds : null,
      errors,
      error_ratio: requests > 0 ? errors / requests : null,
      incomplete,
      avg_ms: timed > 0 ? this.sum / timed / 1e6 : null,
      p50_ms: this.percentile(50),
      p90_ms: this.percentile(90),
      p95_ms: this.percentile(95),
      p99_ms: this.percentile(99),
      max_ms: timed > 0 ? this.max / 1e6 : null,
      // One or two durations are what they are: the percentile is the maximum, or it is not.
      near: timed > 1,
    };
  }
}

/** Names of a row or a group as one text. */
const keyOf = ({ service, method, route }) => JSON.stringify([service ?? "", method ?? "", route ?? ""]);

/** A status as the report shows it: "200", "grpc 5", "none". */
function statusOf({ status, rpc_status: rpc }) {
  if (rpc !== null && rpc !== undefined) return `grpc ${rpc}`;
  return status === null || status === undefined ? "none" : String(status);
}

/** Groups of a side with their names as texts; what has no name has a null. */
function groupsOf(side) {
  const text = (number) => (number === null ? null : data.texts[number]);
  return side.groups.map(({ name, class: kind, cells }) => {
    if (name === null) return { named: false, kind, cells, status: null };
    const named = { ...name, service: text(name.service), method: text(name.method), route: text(name.route) };
    return { named: true, kind, cells, ...named, key: keyOf(named), label: statusOf(name) };
  });
}

const sides = Object.fromEntries(
  Object.entries(data.sides)
    .filter(([, side]) => side !== null)
    .map(([name, side]) => {
      const groups = groupsOf(side);
      const grpc = new Set(groups.filter((group) => group.grpc).map((group) => group.key));
      const by = (rows, key) => new Map(rows.map((row) => [key(row), row]));
      const exact = {
        routes: by(side.by_route.rows, keyOf),
        statuses: by(side.by_status.rows, statusOf),
        services: by(side.by_service.rows, (row) => row.service ?? ""),
      };
      return [name, { ...side, groups, grpc, exact }];
    }),
);

/** Everything is null that does not filter; "" is what is not known. Buckets: `from` and `to`, both included. */
const NO_FILTER = { service: null, method: null, route: null, status: null, from: null, to: null };

function selects(filter, group) {
  const named = ["service", "method", "route"].every(
    (name) => filter[name] === null || (group.named && (group[name] ?? "") === filter[name]),
  );
  return named && (filter.status === null || group.kind === filter.status || group.label === filter.status);
}

/**
 * The figures of what a filter selects of a side: `total`, rows of `routes`, `statuses` and `services`, and sums of all, of
 * every bucket, and of every class of status over the buckets.
 */
function ask(name, filter) {
  const side = sides[name];
  const buckets = data.time.buckets;
  const [from, to] = [filter.from ?? 0, filter.to ?? buckets - 1];
  const timeless = filter.from === null && filter.to === null;
  const all = new Sums();
  const overTime = Array.from({ length: buckets }, () => new Sums());
  const classes = new Map();
  const routes = new Map();
  const statuses = new Map();
  const services = new Map();
  const sums = (map, key, named) => {
    if (!map.has(key)) map.set(key, { named, sums: new Sums() });
    return map.get(key).sums;
  };
  for (const group of side.groups) {
    if (!selects(filter, group)) continue;
    const { service, method, route, status, rpc_status, kind } = group;
    const into = [all];
    if (group.named) {
      into.push(sums(routes, group.key, { service, method, route }));
      into.push(sums(statuses, group.label, { status, rpc_status }));
      into.push(sums(services, service, { service }));
    } else {
      into.push(sums(statuses, `further ${kind}`, { further: kind }));
    }
    for (const cell of group.cells) {
      if (cell[0] < from || cell[0] > to) continue;
      for (const sum of into) sum.add(cell);
      overTime[cell[0]].add(cell);
      if (!classes.has(kind)) classes.set(kind, new Float64Array(buckets));
      classes.get(kind)[cell[0]] += cell[1];
    }
  }

  const seconds = timeless ? data.seconds : (to - from + 1) * data.time.bucket;
  const rows = (map) => {
    const made = [...map.values()].filter((entry) => entry.sums.requests > 0);
    return made.map((entry) => entry.sums.row(entry.named, seconds)).sort((a, b) => b.requests - a.requests);
  };
  const { service, method, route, status } = filter;
  const unnamed = service === null && method === null && route === null;
  const exactly = (computed, map, key) => computed.map((row) => map.get(key(row)) ?? row);

  const answer = { all, overTime, classes, seconds, from, to };
  if (timeless && unnamed && status === null) {
    const { by_route, by_status, by_service, total } = side;
    return { ...answer, total, routes: by_route.rows, statuses: by_status.rows, services: by_service.rows };
  }
  answer.routes = rows(routes);
  if (timeless && status === null) answer.routes = exactly(answer.routes, side.exact.routes, keyOf);
  answer.statuses = rows(statuses);
  answer.services = rows(services);
  const onlyService = timeless && method === null && route === null && status === null;
  if (onlyService) answer.services = exactly(answer.services, side.exact.services, (row) => row.service ?? "");
  answer.total = all.row({}, seconds);
  if (timeless && unnamed) {
    answer.statuses = exactly(answer.statuses, side.exact.statuses, (row) => (row.further ? null : statusOf(row)));
  }
  // The report has this very group.
  if (timeless && unnamed) answer.total = side.exact.statuses.get(status) ?? answer.total;
  else if (onlyService) answer.total = side.exact.services.get(service) ?? answer.total;
  else if (timeless && status === null && answer.routes.length === 1) answer.total = answer.routes[0];
  return answer;
}

/** When a bucket begins, seconds since 1970. */
const bucketBegins = (bucket) => data.time.begins + bucket * data.time.bucket;
