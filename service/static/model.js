// The model that answers: its figures, and its precision-coverage curve.

import { askPatiently } from './api.js';
import { lineChart } from './chart.js';
import { byId, el, number, percent, show, tell, tile } from './dom.js';

const VIEWS = ['all labels', 'topics', 'subtopics'];
const LOWEST_SHOWN = 0.5;
let loading = null;
let known = null;
let drawn = null;

// The description of the model, fetched again when `fresh`, as another may have taken its place.
export async function model(fresh = false) {
  if (known !== null && !fresh) return known;
  loading ??= askPatiently('v1/model', undefined, { tries: 5 }).finally(() => { loading = null; });
  known = await loading;
  tell(byId('footer-model'), `model ${known.id.slice(0, 12)}, topiccore ${known.topiccore_version}`);
  return known;
}

export async function enter() {
  const message = byId('model-message');
  try {
    await model(true);
    tell(message, '');
  } catch (error) {
    tell(message, error.message);
    return;
  }
  show(byId('model-content'), true);
  draw();
}

for (const input of document.getElementsByName('weighting')) input.addEventListener('change', draw);
new ResizeObserver(([entry]) => {
  const width = Math.round(entry.contentRect.width);
  if (known !== null && width && width !== drawn) { drawn = width; curve(); }
}).observe(byId('model-chart'));

const weighting = () => document.querySelector('input[name=weighting]:checked').value;

function draw() {
  const { training, data } = known;
  const quality = training.quality ?? {};
  const views = VIEWS.filter((view) => quality[view]?.[weighting()]);
  const best = quality['all labels']?.[weighting()];
  byId('model-tiles').replaceChildren(
    ...(best ? [
      tile('Precision', percent(best.precision), 'of the labels it emits'),
      tile('Coverage', percent(best.coverage), 'of queries get a label'),
      tile('Labels per query', best.labels.toFixed(2), `on ${number(quality.queries)} test queries`),
      tile('Calibration error', quality.calibration_error.toFixed(3), 'of its scores'),
    ] : [tile('Labels', number(known.labels), `${number(known.topics)} topics`)]));
  byId('model-quality').replaceChildren(
    el('thead', {}, el('tr', {}, ['', 'Precision', 'Coverage', 'Labels per query', 'Coverage at 90 % precision'].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, views.length ? views.map((view) => {
      const x = quality[view][weighting()];
      return el('tr', {}, el('th', { scope: 'row' }, view), [percent(x.precision), percent(x.coverage), x.labels.toFixed(2), percent(x.coverage_at_90)].map((text) => el('td', { class: 'figure' }, text)));
    }) : el('tr', {}, el('td', { colspan: 5, class: 'dim' }, 'The artifact carries no figures.'))));
  facts('model-facts', {
    id: known.id,
    labels: `${number(known.labels)} (${number(known.topics)} topics)`,
    'never emitted': training.labels_never_emitted?.join(', ') || 'none',
    'labelled queries': data.labelled_queries === undefined ? undefined : number(data.labelled_queries),
    examples: data.examples === undefined ? undefined : number(data.examples),
    features: training.compact ? number(training.compact.features) : undefined,
    encoding: known.encoding,
    format: known.format_version,
    scheme: known.scheme,
    topiccore: known.topiccore_version,
  });
  facts('model-settings', flat({ seed: training.seed, ...training.settings }));
  facts('model-data', flat(data));
  curve();
}

function facts(id, content) {
  byId(id).replaceChildren(...Object.entries(content).filter(([, value]) => value !== undefined).map(([name, value]) =>
    el('div', {}, el('dt', {}, name), el('dd', {}, String(value)))));
}

function flat(content, before = '') {
  const found = {};
  for (const [name, value] of Object.entries(content ?? {})) {
    if (value !== null && typeof value === 'object' && !Array.isArray(value)) Object.assign(found, flat(value, `${before}${name} › `));
    else found[before + name] = value;
  }
  return found;
}

function curve() {
  const { curves = {}, quality = {} } = known.training;
  const series = VIEWS.filter((view) => curves[view]?.[weighting()]?.length).map((view) => {
    const own = quality[view]?.[weighting()];
    return { name: view, key: view.split(' ')[0], points: curves[view][weighting()], dots: own ? [[own.coverage, own.precision]] : [] };
  });
  show(byId('model-curve'), series.length > 0);
  show(byId('model-no-curve'), series.length === 0);
  if (!series.length) return;
  const lowest = Math.min(...series.flatMap(({ points }) => points.map((point) => point[1])));
  const place = byId('model-chart');
  const picture = el('div', {});
  place.replaceChildren(
    el('ul', { class: 'keys' }, series.map(({ name, key }) => el('li', {}, el('span', { class: `swatch s-${key}` }), name)),
      el('li', { class: 'dim' }, '● by its own thresholds')),
    picture);
  lineChart(picture, {
    title: `Precision against coverage. ${series.map(({ name, dots }) => (dots.length ? `${name}: precision ${percent(dots[0][1])} at coverage ${percent(dots[0][0])}` : name)).join('; ')}.`,
    series,
    x: { range: [0, 1], format: (value) => percent(value, 0), label: 'coverage' },
    y: { range: [Math.max(LOWEST_SHOWN, Math.floor(10 * lowest) / 10), 1], format: (value) => percent(value, 0), label: 'precision' },
    guides: [{ y: 0.9, text: '' }],
    hover: ({ name }, [coverage, precision]) => `${name}: ${percent(precision)} at ${percent(coverage)}`,
  });
  byId('model-points').replaceChildren(
    el('thead', {}, el('tr', {}, ['', 'Coverage', 'Precision'].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, series.flatMap(({ name, points }) => points.map(([coverage, precision]) =>
      el('tr', {}, el('th', { scope: 'row' }, name), el('td', { class: 'figure' }, percent(coverage)), el('td', { class: 'figure' }, percent(precision)))))));
}
