// What the service does now: the differences of its counts, asked for while the panel is seen.

import { ApiError, ask, sleep } from './api.js';
import { lineChart } from './chart.js';
import { byId, number, percent, show, tell, tile } from './dom.js';

const EVERY_S = 2;
const KEPT = 90;
const SHORTEST_S = 30;
// Figures of the moment are those of so many seconds: one poll alone has too few requests.
const WINDOW_S = 10;

const message = byId('live-message');
let samples = [];
let polling = null;
let inside = false;

export function enter() {
  inside = true;
  start();
}

export function leave() {
  inside = false;
  stop();
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) stop();
  else if (inside) start();
});

function stop() {
  polling?.abort();
  polling = null;
}

async function start() {
  if (polling) return;
  const own = polling = new AbortController();
  while (!own.signal.aborted) {
    let pause = EVERY_S;
    try {
      add(await ask('v1/stats', undefined, { signal: own.signal }));
      if (own.signal.aborted) return;
      tell(message, '');
      draw();
    } catch (error) {
      if (own.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (!error.passing) {
        tell(message, error.message);
        polling = null;
        return;
      }
      pause = error.pause;
      tell(message, `${error.message} Trying again in ${Math.ceil(pause)} s.`);
    }
    try {
      await sleep(pause, own.signal);
    } catch {
      return;
    }
  }
}

function add(sample) {
  const last = samples.at(-1);
  // A restarted server, another model, or workers that have gone: what was counted does not go on.
  if (last && (last.model !== sample.model || sample.requests.total < last.requests.total
    || sample.answers.queries < last.answers.queries)) samples = [];
  if (last && samples.length && sample.time <= last.time) return;
  samples.push(sample);
  if (samples.length > KEPT) samples.shift();
}

function difference(from, to) {
  const minus = (a, b) => a.map((value, place) => value - (b?.[place] ?? 0));
  const share = (of, all) => {
    const whole = to.answers[all] - (from?.answers[all] ?? 0);
    return whole > 0 ? (to.answers[of] - (from?.answers[of] ?? 0)) / whole : NaN;
  };
  const seconds = from ? to.time - from.time : NaN;
  const counts = minus(to.request_seconds.counts, from?.request_seconds.counts);
  const kernel = minus(to.kernel_seconds.counts, from?.kernel_seconds.counts);
  return {
    rate: (to.requests.total - (from?.requests.total ?? 0)) / seconds,
    queries: (to.answers.queries - (from?.answers.queries ?? 0)) / seconds,
    p50: quantile(0.5, to.request_seconds.bounds, counts),
    p99: quantile(0.99, to.request_seconds.bounds, counts),
    kernel: quantile(0.5, to.kernel_seconds.bounds, kernel),
    coverage: share('covered', 'queries'),
    unknown: share('unknown_tokens', 'tokens'),
  };
}

// In milliseconds, evenly within a bucket; what is above the last bound counts as it.
function quantile(share, bounds, counts) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (!all) return NaN;
  let before = 0;
  for (const [place, count] of counts.entries()) {
    if (before + count >= share * all && count) {
      if (place >= bounds.length) return 1000 * bounds.at(-1);
      const low = place ? bounds[place - 1] : 0;
      return 1000 * (low + (bounds[place] - low) * (share * all - before) / count);
    }
    before += count;
  }
  return NaN;
}

const milliseconds = (value) => (Number.isFinite(value) ? `${value >= 10 ? '≥ 10' : value.toFixed(value < 1 ? 3 : 1)}\u00a0ms` : '–');
const rate = (value) => (Number.isFinite(value) ? value.toLocaleString('en', { maximumFractionDigits: value < 10 ? 1 : 0 }) : '–');

function draw() {
  show(byId('live-content'), true);
  const last = samples.at(-1);
  const since = samples.find((sample) => sample.time >= last.time - WINDOW_S - 0.5);
  const now = difference(since === last ? null : since, last);
  const all = difference(null, last);
  const { expected } = last;
  const training = (share) => (share === undefined ? '' : `, in training ${percent(share)}`);
  byId('live-tiles').replaceChildren(
    tile('Requests a second', rate(now.rate), `${number(last.requests.total)} since the start`),
    tile('Latency, median', milliseconds(now.p50), `since the start ${milliseconds(all.p50)}`),
    tile('Latency, p99', milliseconds(now.p99), `since the start ${milliseconds(all.p99)}`),
    tile('The model’s part', milliseconds(now.kernel), 'median of a request'),
    tile('Coverage', percent(now.coverage), `since the start ${percent(all.coverage)}${training(expected.coverage)}`),
    tile('Unknown tokens', percent(now.unknown), `since the start ${percent(all.unknown)}${training(expected.unknown_tokens)}`),
    tile('Refused', number(last.requests.refused), 'answered 503, since the start'),
    tile('Workers', number(last.workers), `${number(last.requests.failed)} requests failed`));
  charts(last);
  tell(byId('live-status'), samples.length < 2 ? 'Counting…' : `Asked every ${EVERY_S} s; figures are of the last ${WINDOW_S} s.`);
}

function charts(last) {
  const parts = samples.slice(1).map((sample, place) => [sample.time - last.time, difference(samples[place], sample)]);
  const line = (name) => parts.filter(([, x]) => Number.isFinite(x[name])).map(([time, x]) => [time, x[name]]);
  const x = { range: [-Math.max(SHORTEST_S, last.time - samples[0].time), 0], format: (value) => (value ? `−${Math.round(-value)} s` : 'now') };
  const top = (...lines) => Math.max(1e-3, ...lines.flat().map((point) => point[1])) * 1.15;
  const rates = line('rate');
  lineChart(byId('live-throughput'), {
    title: 'Requests a second over time', height: 150, x, series: [{ name: 'requests', key: 'all', points: rates }],
    y: { range: [0, Math.max(1, top(rates))], format: rate },
  });
  const [p50, p99] = [line('p50'), line('p99')];
  lineChart(byId('live-latency'), {
    title: 'Median and 99th percentile of latency over time, in milliseconds', height: 150, x,
    series: [{ name: 'p50', key: 'all', points: p50 }, { name: 'p99', key: 'subtopics', points: p99 }],
    y: { range: [0, top(p50, p99)], format: (value) => String(Number(value.toPrecision(3))) },
  });
  lineChart(byId('live-coverage'), {
    title: 'Coverage over time', height: 150, x, series: [{ name: 'coverage', key: 'topics', points: line('coverage') }],
    y: { range: [0, 1], format: (value) => percent(value, 0) },
    guides: last.expected.coverage === undefined ? [] : [{ y: last.expected.coverage, text: 'in training' }],
  });
}
