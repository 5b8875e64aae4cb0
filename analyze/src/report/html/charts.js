"use strict";
// Charts over time, drawn by uPlot: requests per second by class of status, error share, percentiles of durations.
// Each shows an answer of `ask`. A part of the time that is dragged across is handed to `choose`.

/** Class of status, its colour, and what it is called in legends. */
const CLASS_NAMES = {
  "1xx": "1xx",
  "2xx": "2xx",
  "3xx": "3xx",
  "4xx": "4xx",
  "5xx": "5xx",
  "grpc ok": "gRPC OK",
  "grpc error": "gRPC error",
  other: "other",
  none: "no status",
};

const classColour = (name) => colour(`class-${name.replace(" ", "-")}`);

/** Space for the labels of durations, so that the axes of all charts stand above each other. */
const AXIS = 62;
/** Space for half of the last label of time. */
const RIGHT = 38;
const TIME_AXIS = 34;
const HEIGHT = 210;
const FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

/** Distances of labels on the axis of time, seconds. */
const DISTANCES = [
  ...[0.001, 0.01, 0.1].flatMap((unit) => [unit, 2 * unit, 5 * unit]),
  ...[1, 2, 5, 10, 15, 30],
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60),
  ...[1, 2, 3, 6, 12].map((hours) => hours * 3600),
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000].map((days) => days * 86400),
];

/** Charts have seconds since this midnight: floating point is then exact enough for microseconds. */
const midnight = data.time ? Math.floor(data.time.begins / 86400) * 86400 : 0;

/** A range of time as people read it. */
function timeLabel(from, to) {
  const step = data.time.bucket;
  return `${show.clock(bucketBegins(from), Math.min(step, 59))} to ${show.clock(bucketBegins(to + 1), Math.min(step, 59))}`;
}

function axes(unit) {
  const common = { stroke: colour("muted"), font: FONT, ticks: { show: false } };
  const grid = { stroke: colour("grid"), width: 1 };
  return [
    {
      ...common,
      grid: { show: false },
      size: TIME_AXIS,
      gap: 10,
      incrs: DISTANCES,
      space: 76,
      values: (_, splits, __, ___, step) => splits.map((at) => show.clock(midnight + at, step)),
    },
    { ...common, grid, size: AXIS, values: (_, splits) => splits.map((value) => (value === null ? "" : unit(value))) },
  ];
}

/** What all charts over time have. `lines` says what stands beside the pointer for a bucket. */
function options(answer, place, lines, choose) {
  const middle = (bucket) => bucketBegins(bucket) + data.time.bucket / 2 - midnight;
  return {
    width: Math.max(200, place.clientWidth),
    height: HEIGHT,
    legend: { show: false },
    padding: [10, RIGHT, 0, 0],
    cursor: {
      sync: { key: "time" },
      drag: { x: true, y: false, setScale: false },
      points: { show: false },
      y: false,
    },
    scales: {
      x: {
        time: false,
        range: [bucketBegins(answer.from) - midnight, bucketBegins(answer.to + 1) - midnight],
      },
    },
    hooks: {
      setCursor: [
        (chart) => {
          const { idx } = chart.cursor;
          if (!chart.over.matches(":hover") || !chart.cursor.event) return;
          if (idx === null || idx === undefined) tip.hide();
          else tip.show(chart.cursor.event, timeLabel(answer.from + idx, answer.from + idx), lines(answer.from + idx));
        },
      ],
      setSelect: [
        (chart) => {
          const { left, width } = chart.select;
          if (width < 4) return;
          const at = (pixels) => Math.floor((chart.posToVal(pixels, "x") + midnight - data.time.begins) / data.time.bucket);
          const within = (bucket) => Math.min(answer.to, Math.max(answer.from, bucket));
          choose(within(at(left)), within(at(left + width)));
        },
      ],
      ready: [(chart) => chart.over.addEventListener("mouseleave", tip.hide)],
    },
    times: range(answer.from, answer.to).map(middle),
  };
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

function legend(figure, entries) {
  const items = entries.map(([name, swatch, dash]) => {
    const mark = element("i", { class: dash ? `swatch line ${dash}` : "swatch" });
    if (dash) mark.style.borderColor = swatch;
    else mark.style.background = swatch;
    return element("li", {}, mark, name);
  });
  find(".legend", figure).replaceChildren(...items);
}

const charts = new Map();

function draw(id, makeOptions, series) {
  const figure = find(`#${id}`);
  const place = find(".plot", figure);
  charts.get(id)?.destroy();
  const { times, ...made } = makeOptions(place);
  charts.set(id, new uPlot({ ...made, series: [{}, ...series.map(({ values, ...one }) => one)] }, [times, ...series.map((one) => one.values)], place));
  find("canvas", place).setAttribute("aria-hidden", "true");
}

/** Bars from one side of a bucket to the other. */
const bars = () => uPlot.paths.bars({ size: [1, Infinity], gap: 1 });

function drawRate(answer, choose) {
  const buckets = range(answer.from, answer.to);
  const present = CLASSES.filter((name) => answer.classes.has(name));
  const rate = (name, bucket) => answer.classes.get(name)[bucket] / data.time.bucket;
  // The sums that stand highest are drawn first, and the others over them.
  const stacked = present
    .map((_, index) => present.slice(0, index + 1))
    .reverse()
    .map((below) => ({
      values: buckets.map((bucket) => below.reduce((sum, name) => sum + rate(name, bucket), 0)),
      fill: classColour(below.at(-1)),
      width: 0,
      paths: bars(),
      points: { show: false },
    }));
  const lines = (bucket) => [
    ...[...present].reverse().map((name) => [CLASS_NAMES[name], `${show.three(rate(name, bucket))} per s`, classColour(name)]),
    ["requests", show.count(answer.overTime[bucket].requests)],
  ];
  const made = (place) => {
    const all = options(answer, place, lines, choose);
    all.scales.y = { range: (_, __, max) => [0, Math.max(max * 1.08, 1e-9)] };
    return { ...all, axes: axes(show.three) };
  };
  draw("rate", made, stacked);
  legend(find("#rate"), present.map((name) => [CLASS_NAMES[name], classColour(name)]));
}

function drawShare(answer, choose) {
  const buckets = range(answer.from, answer.to);
  const share = (bucket) => {
    const { requests, errors } = answer.overTime[bucket];
    return requests > 0 ? errors / requests : null;
  };
  const lines = (bucket) => {
    const { requests, errors } = answer.overTime[bucket];
    return [["errors", show.percent(share(bucket)), colour("class-5xx")], ["of", `${show.count(errors)} of ${show.count(requests)}`]];
  };
  const made = (place) => {
    const all = options(answer, place, lines, choose);
    all.scales.y = { range: (_, __, max) => [0, Math.min(1, Math.max(0.01, (max ?? 0) * 1.2))] };
    return { ...all, axes: axes((ratio) => `${Number((ratio * 100).toPrecision(3))}%`) };
  };
  draw("share", made, [
    { values: buckets.map(share), fill: colour("class-5xx"), width: 0, paths: bars(), points: { show: false } },
  ]);
  legend(find("#share"), [["errors of all requests", colour("class-5xx")]]);
}

const PERCENTILES = [
  { percent: 50, dash: [], name: "solid" },
  { percent: 95, dash: [7, 4], name: "dashed" },
  { percent: 99, dash: [2, 3], name: "dotted" },
];

function drawLatency(answer, choose) {
  const buckets = range(answer.from, answer.to);
  const lines = (bucket) => [
    ...[...PERCENTILES]
      .reverse()
      .map(({ percent }) => [`p${percent}`, show.duration(answer.overTime[bucket].percentile(percent)), colour(`p${percent}`)]),
    ["requests", show.count(answer.overTime[bucket].requests)],
  ];
  const made = (place) => {
    const all = options(answer, place, lines, choose);
    const known = (value) => value !== null && value > 0;
    all.scales.y = {
      distr: 3,
      range: (_, min, max) => (known(min) && known(max) ? uPlot.rangeLog(min, max, 10, false).map((v) => v) : [0.1, 10]),
    };
    const [time, durations] = axes(show.tick);
    const filter = (_, splits) => splits.map((value) => (isDecade(value) ? value : null));
    return { ...all, axes: [time, { ...durations, filter, grid: { ...durations.grid, filter } }] };
  };
  const values = (percent) => buckets.map((bucket) => answer.overTime[bucket].percentile(percent) || null);
  const series = PERCENTILES.map(({ percent, dash }) => ({
    values: values(percent),
    stroke: colour(`p${percent}`),
    width: 1.75,
    dash,
    spanGaps: false,
    points: { show: true, size: 5, width: 0, fill: colour(`p${percent}`), filter: (chart, index) => alone(chart.data[index]) },
  }));
  draw("latency", made, series);
  legend(find("#latency"), PERCENTILES.map(({ percent, name }) => [`p${percent}`, colour(`p${percent}`), name]));
}

/** Places of values between nulls, of which no line would show anything. */
function alone(values) {
  return range(0, values.length - 1).filter((at) => values[at] !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null);
}

const isDecade = (value) => value !== null && Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9;

/** Draws all charts over time anew. */
function drawCharts(answer, choose) {
  tip.hide();
  drawRate(answer, choose);
  drawShare(answer, choose);
  drawLatency(answer, choose);
}
