"use strict";
// Services and their calls, drawn in layers: who calls stands left of who is called.

/** Calls that are drawn; the table has all of them. */
const DRAWN_CALLS = 60;

const NODE = { width: 170, height: 46, across: 230, down: 74 };

/** Length of the part of an edge that has its labels. */
const STRAIGHT = 156;

/** Whoever calls the services from outside of what was captured. */
const CLIENTS = "clients";

/**
 * Nodes and edges: calls as their callers saw them, and for each service that answered, whatever called it that is not
 * among the callers.
 */
function graphOf() {
  const edges = data.calls.map(({ caller, callee, requests, errors, p95_ms }) => ({
    from: `s:${caller}`,
    to: callee === null ? "?" : `s:${callee}`,
    requests,
    errors,
    p95_ms,
  }));
  const inbound = data.sides.inbound?.by_service.rows ?? [];
  const called = new Set(edges.map(({ to }) => to));
  for (const { service, requests, errors, p95_ms } of inbound) {
    const name = `s:${service ?? ""}`;
    if (!called.has(name)) edges.push({ from: CLIENTS, to: name, requests, errors, p95_ms });
  }
  edges.sort((a, b) => b.requests - a.requests);
  const kept = edges.slice(0, DRAWN_CALLS);
  const names = new Set(kept.flatMap(({ from, to }) => [from, to]));
  return { edges: kept, left: edges.length - kept.length, nodes: [...names].map((id) => ({ id })) };
}

/** Gives every node a layer: one more than the highest of those that call it, calls that close a circle aside. */
function layer({ nodes, edges }) {
  const out = new Map(nodes.map(({ id }) => [id, []]));
  for (const edge of edges) out.get(edge.from).push(edge);
  const state = new Map();
  // Depth first, without recursion: a chain may be long. An edge to where the search comes from closes a circle.
  const order = [];
  const starts = [...nodes].sort((a, b) => (b.id === CLIENTS) - (a.id === CLIENTS) || inward(edges, a.id) - inward(edges, b.id));
  for (const { id: start } of starts) {
    const path = [[start, 0]];
    while (path.length > 0) {
      const top = path.at(-1);
      const [id, next] = top;
      if (next === 0) {
        if (state.has(id)) {
          path.pop();
          continue;
        }
        state.set(id, "open");
      }
      const edge = out.get(id)[next];
      top[1] += 1;
      if (edge === undefined) {
        state.set(id, "done");
        order.push(id);
        path.pop();
      } else if (state.get(edge.to) === "open") {
        edge.back = true;
      } else if (!state.has(edge.to)) {
        path.push([edge.to, 0]);
      }
    }
  }
  const layers = new Map(nodes.map(({ id }) => [id, 0]));
  for (const id of order.reverse()) {
    for (const { to, back } of out.get(id)) {
      if (!back) layers.set(to, Math.max(layers.get(to), layers.get(id) + 1));
    }
  }
  return layers;
}

const outward = (edges, id) => edges.filter(({ from }) => from === id).length;

const inward = (edges, id) => edges.filter(({ to }) => to === id).length;

/** Places nodes: layers from left to right, and within a layer near those that call. */
function place(graph) {
  const layers = layer(graph);
  const columns = [];
  for (const node of graph.nodes) (columns[layers.get(node.id)] ??= []).push(node);
  const rows = new Map();
  const tallest = Math.max(...columns.map((column) => column.length));
  for (const column of columns) {
    const wish = ({ id }) => {
      const callers = graph.edges.filter(({ to, back }) => to === id && !back).map(({ from }) => rows.get(from));
      return callers.length === 0 ? 0 : callers.reduce((sum, row) => sum + row, 0) / callers.length;
    };
    const wishes = new Map(column.map((node) => [node, wish(node)]));
    column.sort((a, b) => wishes.get(a) - wishes.get(b));
    column.forEach((node, index) => rows.set(node.id, index + (tallest - column.length) / 2));
  }
  for (const node of graph.nodes) {
    node.x = 10 + layers.get(node.id) * (NODE.width + NODE.across);
    node.y = 22 + rows.get(node.id) * NODE.down;
  }
  return { width: columns.length * (NODE.width + NODE.across) - NODE.across + 20, height: tallest * NODE.down + 14 };
}

function nodeName(id) {
  if (id === CLIENTS) return "clients";
  if (id === "?") return "not known";
  return show.printable(id.slice(2)) || "no name";
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** Draws the graph and its table. `choose` filters by a service that is on a side of the page. */
function drawGraph(choose) {
  const section = find("#graph");
  const graph = graphOf();
  section.hidden = graph.edges.length === 0;
  if (section.hidden) return;
  const { width, height } = place(graph);
  const at = new Map(graph.nodes.map((node) => [node.id, node]));
  const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Services and their calls" });
  svg.append(
    drawn("defs", {}, drawn("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto-start-reverse" },
      drawn("path", { class: "arrow-head", d: "M0 0.5 L8 4 L0 7.5 z" }))),
  );
  const labels = [];
  for (const edge of graph.edges) {
    const [from, to] = [at.get(edge.from), at.get(edge.to)];
    const [x1, y1, x2, y2] = [from.x + NODE.width, from.y + NODE.height / 2, to.x - 3, to.y + NODE.height / 2];
    const below = Math.max(from.y, to.y) + NODE.height + 14;
    // Labels stand along a straight part at the end that has fewer edges: there they do not meet those of others.
    const atSource = inward(graph.edges, edge.to) > outward(graph.edges, edge.from);
    const [bend, unbend] = atSource ? [x1 + STRAIGHT, x2] : [x1, x2 - STRAIGHT];
    const half = (bend + unbend) / 2;
    const circle = [from.x, to.x].map((left) => left + NODE.width / 2);
    const curve = edge.back
      ? `M${circle[0]} ${from.y + NODE.height} C${circle[0]} ${below + 14} ${circle[1]} ${below + 14} ${circle[1]} ${to.y + NODE.height + 3}`
      : `M${x1} ${y1} L${bend} ${y1} C${half} ${y1} ${half} ${y2} ${unbend} ${y2} L${x2} ${y2}`;
    const failed = edge.errors > 0;
    svg.append(drawn("path", { class: failed ? "edge failed" : "edge", d: curve, "marker-end": "url(#arrow)" }));
    const beside = atSource ? [x1 + STRAIGHT / 2, y1] : [x2 - STRAIGHT / 2, y2];
    const [x, y] = edge.back ? [(circle[0] + circle[1]) / 2, below] : beside;
    const rate = data.seconds > 0 ? `${show.three(edge.requests / data.seconds)} per s` : `${show.count(edge.requests)} requests`;
    const detail = edge.p95_ms === null ? [] : [`p95 ${show.duration(edge.p95_ms)}`];
    const text = drawn("text", { class: "edge-label", x, y: y - 6, "text-anchor": "middle" }, [rate, ...detail].join(" · "));
    const errors = drawn("text", { class: failed ? "edge-label failed" : "edge-label", x, y: y + 15, "text-anchor": "middle" }, `${show.percent(edge.errors / edge.requests)} errors`);
    labels.push(text, errors);
  }
  for (const { id, x, y } of graph.nodes) {
    const name = nodeName(id);
    const act = id.startsWith("s:") ? choose(id.slice(2)) : null;
    const kind = id === CLIENTS || id === "?" ? "outside" : act ? "own" : "other";
    const keydown = (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      act();
    };
    const listening = act ? { role: "button", tabindex: 0, "aria-label": `Filter by service ${name}`, click: act, keydown } : {};
    const note = kind === "own" ? "captured" : kind === "other" ? "called" : "outside of the capture";
    svg.append(
      drawn("g", { class: `node ${kind}`, transform: `translate(${x} ${y})`, ...listening },
        drawn("title", {}, name),
        drawn("rect", { width: NODE.width, height: NODE.height, rx: 8 }),
        drawn("text", { class: "node-name", x: 12, y: 20 }, shortened(name, 22)),
        drawn("text", { class: "node-note", x: 12, y: 36 }, note)),
    );
  }
  svg.append(...labels);
  find(".drawing", section).replaceChildren(svg);

  const rows = data.calls.map((call) => [
    `${show.printable(call.caller) || "no name"} → ${call.callee === null ? "not known" : show.printable(call.callee)}`,
    show.count(call.requests),
    data.seconds > 0 ? show.three(call.requests / data.seconds) : "–",
    call.errors === 0 ? "0" : show.percent(call.errors / call.requests),
    show.duration(call.p50_ms),
    show.duration(call.p95_ms),
  ]);
  const notes = [];
  if (graph.left > 0) notes.push(`${show.count(graph.left)} further calls are not drawn.`);
  if (data.calls_left_out > 0) notes.push(`${show.count(data.calls_left_out)} further calls are in the output json.`);
  find(".calls", section).replaceChildren(
    ...(rows.length > 0 ? [element("div", { class: "scroll" }, plainTable("Calls", ["calls", "requests", "per s", "errors", "p50", "p95"], rows))] : []),
    ...notes.map((note) => element("p", { class: "muted small" }, note)),
  );
}
