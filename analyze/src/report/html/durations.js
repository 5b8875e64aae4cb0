"use strict";
// Durations as a whole: a heat map of time and duration, the distribution with its percentiles, and both as tables.

/** The first and the last step with any duration; null without. */
function stepRange(sums) {
  const first = sums.steps.findIndex((count) => count > 0);
  return first < 0 ? null : [first, sums.steps.findLastIndex((count) => count > 0)];
}

/** Bands of neighbouring steps that cover all durations: each with its bounds in nanoseconds and the steps in it. */
function bandsOf(sums, most) {
  const found = stepRange(sums);
  if (found === null) return [];
  const [first, last] = found;
  let width = 1;
  while ((last - first + 1) / width > most) width *= 2;
  const from = Math.floor(first / width);
  // A step more on both sides, so that one value alone still is a bar among others.
  return range(Math.max(0, from - 1), Math.floor(last / width) + 1).map((band) => ({
    steps: [band * width, (band + 1) * width],
    low: stepBegins(band * width),
    high: stepBegins((band + 1) * width),
  }));
}

function countIn(sums, { steps: [from, to] }) {
  let count = 0;
  for (let step = from; step < Math.min(to, STEPS); step += 1) count += sums.steps[step];
  return count;
}

const bandLabel = ({ low, high }) => `${show.duration(low / 1e6)} to ${show.duration(high / 1e6)}`;

/** Round durations between two, nanoseconds: powers of ten, or more when there are few of them. */
function roundDurations(low, high) {
  const decades = range(Math.floor(Math.log10(Math.max(1, low))) - 1, Math.ceil(Math.log10(Math.max(1, high))));
  const within = (factors) => decades.flatMap((decade) => factors.map((factor) => factor * 10 ** decade)).filter((ns) => ns >= low && ns <= high);
  return [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]].map(within).find((marks) => marks.length >= 3) ?? within([1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8]);
}

/** How far between two durations one is on a logarithmic scale, 0 to 1. */
const logPlace = (ns, low, high) => (Math.log(ns) - Math.log(low)) / (Math.log(high) - Math.log(low));

const HEATS = 6;

function drawHeat(answer, choose) {
  const figure = find("#heat");
  const place = find(".plot", figure);
  const bands = bandsOf(answer.all, 40);
  if (bands.length === 0) {
    place.replaceChildren(element("p", { class: "muted" }, "No durations are known."));
    find(".legend", figure).replaceChildren();
    return;
  }
  const buckets = range(answer.from, answer.to);
  const counts = buckets.map((bucket) => bands.map((band) => countIn(answer.overTime[bucket], band)));
  const most = Math.max(...counts.flat());
  // Classes of equal ratio: one request is to be seen beside thousands.
  const heat = (count) => (most === 1 ? HEATS : 1 + Math.min(HEATS - 1, Math.floor((Math.log(count) / Math.log(most)) * HEATS)));
  const starts = most === 1 ? [[HEATS, 1]] : range(1, HEATS).map((level) => [level, Math.ceil(most ** ((level - 1) / HEATS) - 1e-9)]);

  const [width, height] = [Math.max(200, place.clientWidth), HEIGHT];
  const inner = { left: AXIS, top: 10, width: width - AXIS - RIGHT, height: height - 10 - TIME_AXIS };
  const canvas = element("canvas", { "aria-hidden": "true" });
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const [low, high] = [Math.max(1, bands[0].low), bands.at(-1).high];
  const y = (ns) => inner.top + inner.height * (1 - logPlace(Math.max(ns, low), low, high));
  const x = (column) => inner.left + (inner.width * column) / buckets.length;

  pen.font = FONT;
  pen.fillStyle = colour("muted");
  pen.strokeStyle = colour("grid");
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  for (const ns of roundDurations(low, high)) {
    const at = Math.round(y(ns)) + 0.5;
    pen.beginPath();
    pen.moveTo(inner.left, at);
    pen.lineTo(inner.left + inner.width, at);
    pen.stroke();
    pen.fillText(show.tick(ns / 1e6), inner.left - 8, at);
  }
  pen.textAlign = "center";
  const seconds = buckets.length * data.time.bucket;
  const step = DISTANCES.find((distance) => (inner.width * distance) / seconds >= 76) ?? DISTANCES.at(-1);
  const begins = bucketBegins(answer.from) - midnight;
  for (let at = Math.ceil(begins / step) * step; at < begins + seconds; at += step) {
    pen.fillText(show.clock(midnight + at, step), inner.left + (inner.width * (at - begins)) / seconds, height - TIME_AXIS + 17);
  }
  const shades = range(1, HEATS).map((level) => colour(`heat-${level}`));
  const gap = inner.width / buckets.length > 8 ? 1 : 0;
  counts.forEach((column, index) => {
    column.forEach((count, band) => {
      if (count === 0) return;
      pen.fillStyle = shades[heat(count) - 1];
      const [top, bottom] = [y(bands[band].high), y(bands[band].low)];
      pen.fillRect(x(index), top + gap, Math.max(1, x(index + 1) - x(index) - gap), Math.max(1, bottom - top - gap));
    });
  });
  place.replaceChildren(canvas);
  legend(
    figure,
    starts
      .filter(([, start], index) => index === 0 || start !== starts[index - 1][1])
      .map(([level, start]) => [`${show.count(start)}${level === HEATS && most > start ? "+" : ""}`, shades[level - 1]]),
  );

  const cellAt = (event) => {
    const { left, top } = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - left - inner.left) / inner.width) * buckets.length);
    const band = bands.findIndex((one) => event.clientY - top >= y(one.high) && event.clientY - top < y(one.low));
    return { column, band };
  };
  canvas.addEventListener("mousemove", (event) => {
    const { column, band } = cellAt(event);
    if (column < 0 || column >= buckets.length || band < 0) return tip.hide();
    const lines = [["duration", bandLabel(bands[band])], ["requests", show.count(counts[column][band])]];
    return tip.show(event, timeLabel(buckets[column], buckets[column]), lines);
  });
  canvas.addEventListener("mouseleave", tip.hide);
  let began = null;
  canvas.addEventListener("mousedown", (event) => {
    began = cellAt(event).column;
  });
  canvas.addEventListener("mouseup", (event) => {
    const ended = cellAt(event).column;
    if (began === null || began === ended) return;
    const within = (column) => answer.from + Math.min(buckets.length - 1, Math.max(0, column));
    choose(within(Math.min(began, ended)), within(Math.max(began, ended)));
  });
}

function drawDistribution(answer) {
  const figure = find("#distribution");
  const place = find(".plot", figure);
  find(".legend", figure).replaceChildren();
  const bands = bandsOf(answer.all, Math.max(12, Math.floor(place.clientWidth / 9)));
  if (bands.length === 0) {
    place.replaceChildren(element("p", { class: "muted" }, "No durations are known."));
    return;
  }
  const [width, height] = [Math.max(200, place.clientWidth), HEIGHT];
  const inner = { left: AXIS, top: 10, width: width - AXIS - RIGHT, height: height - 10 - TIME_AXIS };
  const counts = bands.map((band) => countIn(answer.all, band));
  const most = Math.max(...counts);
  const [low, high] = [Math.max(1, bands[0].low), bands.at(-1).high];
  const x = (ns) => inner.left + inner.width * logPlace(Math.max(ns, low), low, high);
  const bottom = inner.top + inner.height;
  const svg = drawn("svg", { width, height, "aria-hidden": "true" });
  for (const part of [0.5, 1]) {
    const count = Math.round(most * part);
    const at = bottom - inner.height * (count / most);
    svg.append(
      drawn("line", { class: "grid-line", x1: inner.left, x2: width - RIGHT, y1: at, y2: at }),
      drawn("text", { class: "axis", x: inner.left - 8, y: at + 4, "text-anchor": "end" }, show.count(count)),
    );
  }
  for (const ns of roundDurations(low, high)) {
    svg.append(drawn("text", { class: "axis", x: x(ns), y: height - TIME_AXIS + 18, "text-anchor": "middle" }, show.tick(ns / 1e6)));
  }
  bands.forEach((band, index) => {
    const [left, right] = [x(band.low), x(band.high)];
    const tall = counts[index] === 0 ? 0 : Math.max(2, inner.height * (counts[index] / most));
    const share = counts[index] / answer.all.timed;
    const lines = [["requests", show.count(counts[index])], ["share", show.percent(share)]];
    svg.append(
      drawn("rect", { class: "column", x: left, y: bottom - tall, width: Math.max(1, right - left - 1), height: tall }),
      drawn("rect", {
        class: "reach",
        x: left,
        y: inner.top,
        width: Math.max(1, right - left),
        height: inner.height,
        mousemove: (event) => tip.show(event, bandLabel(band), lines),
        mouseleave: tip.hide,
      }),
    );
  });
  svg.append(drawn("line", { class: "base-line", x1: inner.left, x2: width - RIGHT, y1: bottom, y2: bottom }));
  const marks = PERCENTILES.map(({ percent, name }) => ({ id: `p${percent}`, ms: answer.total[`p${percent}_ms`], name })).filter(({ ms }) => ms !== null);
  for (const { id, ms } of marks) {
    svg.append(drawn("line", { class: `mark ${id}`, x1: x(ms * 1e6), x2: x(ms * 1e6), y1: inner.top - 6, y2: bottom }));
  }
  legend(figure, marks.map(({ id, ms, name }) => [`${id} ${show.duration(ms)}`, colour(id), name]));
  place.replaceChildren(svg);
}

/** Duration limits of the table over time, milliseconds. */
const DECADES = [0.1, 1, 10, 100, 1000];

/** What the charts over time and the heat map show, as a table. */
function tableOverTime(answer) {
  const decades = [...DECADES.map((ms) => `< ${show.tick(ms)}`), `≥ ${show.tick(DECADES.at(-1))}`];
  const titles = ["time (UTC)", "requests", "per s", "errors", "p50", "p95", "p99", ...decades];
  const rows = range(answer.from, answer.to).map((bucket) => {
    const sums = answer.overTime[bucket];
    const counts = new Array(decades.length).fill(0);
    sums.steps.forEach((count, step) => {
      if (count === 0) return;
      const limit = DECADES.findIndex((ms) => stepMiddle(step) / 1e6 < ms);
      counts[limit < 0 ? DECADES.length : limit] += count;
    });
    return [
      show.clock(bucketBegins(bucket), Math.min(data.time.bucket, 59)),
      show.count(sums.requests),
      show.three(sums.requests / data.time.bucket),
      sums.requests > 0 ? show.percent(sums.errors / sums.requests) : "–",
      ...[50, 95, 99].map((percent) => show.duration(sums.percentile(percent))),
      ...counts.map(show.count),
    ];
  });
  return plainTable("Requests over time", titles, rows);
}

/** The distribution as a table. */
function tableByDuration(answer) {
  let seen = 0;
  const rows = bandsOf(answer.all, 90)
    .map((band) => [band, countIn(answer.all, band)])
    .filter(([, count]) => count > 0)
    .map(([band, count]) => {
      seen += count;
      return [bandLabel(band), show.count(count), show.percent(count / answer.all.timed), show.percent(seen / answer.all.timed)];
    });
  return plainTable("Requests by duration", ["duration", "requests", "share", "up to here"], rows);
}
