// The taxonomy: fetched once for each artifact, browsed and searched in its panel.

import { askPatiently } from './api.js';
import { byId, el, percent, plural, tell } from './dom.js';
import { model } from './model.js';

let loading = null;
let known = null;

// code -> { code, name, scope, threshold, topic }; topic is the code of the label's topic, or null.
export async function labels(id, signal) {
  if (known !== null && (id === undefined || known.model === id)) return known.byCode;
  loading ??= askPatiently('v1/taxonomy', undefined, { tries: 5, signal }).finally(() => { loading = null; });
  const taxonomy = await loading;
  const byCode = new Map();
  for (const topic of taxonomy.topics) {
    byCode.set(topic.code, { ...topic, topic: null });
    for (const label of topic.subtopics) byCode.set(label.code, { ...label, topic: topic.code });
  }
  known = { ...taxonomy, byCode };
  return byCode;
}

const search = byId('labels-search');
let drawn = null;

export async function enter(argument) {
  const message = byId('labels-message');
  try {
    await labels();
    tell(message, '');
  } catch (error) {
    tell(message, error.message);
    return;
  }
  if (drawn !== known.model) draw();
  if (argument) open(argument);
}

search.addEventListener('input', filter);
search.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && search.value) { search.value = ''; filter(); event.preventDefault(); }
});

function draw() {
  drawn = known.model;
  byId('labels-tree').replaceChildren(...known.topics.map((topic) =>
    el('li', { class: 'topic-item', 'data-code': topic.code },
      entry(topic),
      el('ul', { hidden: true, id: `sub-${topic.code}` }, topic.subtopics.map((label) =>
        el('li', { 'data-code': label.code }, entry(label)))))));
  filter();
}

function entry(label) {
  const detail = el('div', { class: 'detail', hidden: true });
  const button = el('button', {
    type: 'button', class: 'entry', 'aria-expanded': 'false', 'data-label': label.code,
    onclick: () => toggle(label.code),
  },
  el('span', { class: 'entry-name' }, label.name), ' ',
  el('code', {}, label.code),
  label.subtopics ? el('span', { class: 'dim count' }, String(label.subtopics.length)) : null,
  el('span', { class: 'scope' }, label.scope));
  return el('div', {}, button, detail);
}

const item = (code) => byId('labels-tree').querySelector(`li[data-code="${CSS.escape(code)}"]`);

function toggle(code, wanted) {
  const place = item(code);
  const button = place.querySelector('button');
  const open = wanted ?? button.getAttribute('aria-expanded') !== 'true';
  button.setAttribute('aria-expanded', String(open));
  const detail = place.querySelector('.detail');
  detail.hidden = !open;
  const list = place.querySelector('ul');
  if (list) list.hidden = !open && !search.value.trim();
  if (open) {
    describe(code, detail);
    history.replaceState(null, '', `#labels=${encodeURIComponent(code)}`);
  }
}

async function describe(code, place) {
  const label = known.byCode.get(code);
  const facts = [[ 'Threshold', label.threshold === null ? 'never emitted' : `score ${label.threshold.toFixed(2)}` ]];
  let found = null;
  try {
    found = await model();
  } catch { /* The label is told without figures then. */ }
  const training = found?.training ?? {};
  const counts = training.per_label?.[code];
  if (counts) {
    const [gold, emitted, right] = counts;
    facts.push(['Precision', emitted ? `${percent(right / emitted, 0)} (${right} of ${emitted} emitted)` : 'not emitted for a test query']);
    facts.push(['Recall', gold ? `${percent(right / gold, 0)} (${right} of ${gold} that have it)` : 'no test query has it']);
  }
  const share = training.expected?.labels?.[code];
  if (share !== undefined) facts.push(['Expected', `for ${percent(share, share < 0.01 ? 2 : 1)} of queries`]);
  place.replaceChildren(el('dl', { class: 'facts short' },
    facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)))));
}

function open(code) {
  const label = known.byCode.get(code);
  if (!label) return;
  search.value = '';
  filter();
  if (label.topic) toggle(label.topic, true);
  toggle(code, true);
  const button = item(code).querySelector('button');
  button.focus({ preventScroll: true });
  button.scrollIntoView({ block: 'center' });
}

const plain = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

function filter() {
  if (known === null) return;
  const words = plain(search.value).split(/\s+/).filter(Boolean);
  const matches = (label) => {
    const text = plain(`${label.code} ${label.name} ${label.scope}`);
    return words.every((word) => text.includes(word));
  };
  let count = 0;
  for (const topic of known.topics) {
    const place = item(topic.code);
    const own = matches(topic);
    let within = 0;
    for (const label of topic.subtopics) {
      const hit = matches(label);
      item(label.code).hidden = words.length > 0 && !hit;
      within += hit;
    }
    place.hidden = words.length > 0 && !own && !within;
    place.querySelector('ul').hidden = words.length ? !within
      : place.querySelector('button').getAttribute('aria-expanded') !== 'true';
    count += own + within;
  }
  tell(byId('labels-status'), words.length ? `${plural(count, 'label')} found`
    : `${plural(known.topics.length, 'topic')}, ${plural(known.byCode.size - known.topics.length, 'subtopic')}. Choose one for its figures.`);
}
