].sort((a, b) => a.at - b.at));

// What the recording says of all requests: computed once for all virtual users.
const facts = new SharedArray('facts', () => {
  const ends = [];
  const durations = [];
  let most = 0;
  let gone = 0;
  const first = recorded.length > 0 ? recorded[0].at : 0;
  let last = first;
  for (const { at, took } of recorded) {
    ends.push(at + (took ?? 0));
    last = at;
    if (took !== null) durations.push(took);
  }
  ends.sort((a, b) => a - b);
  let begun = 0;
  for (const { at } of recorded) {
    begun += 1;
    while (ends[gone] < at) gone += 1;
    most = Math.max(most, begun - gone);
  }
  durations.sort((a, b) => a - b);
  const p95 = durations.length > 0 ? durations[Math.ceil(durations.length * 0.95) - 1] : null;
  return [{ first, span: last - first, most, p95 }];
})[0];

const base = __ENV.BASE_URL || BASE_URL;
const speed = Number(__ENV.SPEED || SPEED);
const late = new Trend('replay_late', true);

export const options = {
  scenarios: {
    recorded: {
      executor: 'shared-iterations',
      vus: Math.min(Number(__ENV.VUS || facts.most + 10), Math.max(recorded.length, 1)),
      iterations: Math.max(recorded.length, 1),
      maxDuration: `${Math.ceil(facts.span / speed / 1000) + 600}s`,
    },
  },
  thresholds: __ENV.TOLERANCE && facts.p95 !== null
    ? { http_req_duration: [`p(95)<=${facts.p95 * Number(__ENV.TOLERANCE)}`] }
    : {},
};

export default function () {
  const request = recorded[exec.scenario.iterationInTest];
  if (!request) return;
  const due = exec.scenario.startTime + (request.at - facts.first) / speed;
  const wait = due - Date.now();
  if (wait > 0) sleep(wait / 1000);
  late.add(Math.max(0, Date.now() - due));
  const response = http.request(request.method, (base || request.origin) + request.target, null, {
    headers: request.headers,
    redirects: 0,
    tags: { name: request.name },
  });
  if (request.status !== null) {
    check(response, { 'status as recorded': (response) => response.status === request.status });
  }
}
