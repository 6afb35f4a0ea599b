// Topics as one types. The latest query wins: answers to earlier ones are dropped.

import { ApiError, ask, sleep } from './api.js';
import { byId, el, percent, plural, show, signed, tell } from './dom.js';
import { labels } from './labels.js';

const DEBOUNCE_MS = 120;
const WORDS = 6;
const LEAST_SHARE = 0.05;
const BELOW = { min_score: 0.02, max_labels: 12 };
const NEAREST = { min_score: 0, max_labels: 3 };
const CONTEXT = {
  family: 'a label of the same topic',
  sibling: 'another subtopic of the topic',
  rival: 'the best label of another topic',
};

const field = byId('query-text');
const results = byId('query-results');
const message = byId('query-message');
const status = byId('query-status');
const opened = new Set();
let timer = null;
let current = null;
let shown = null;

export function enter(argument) {
  if (argument !== null && argument !== field.value) {
    field.value = argument;
    run();
  }
  if (matchMedia('(hover: hover)').matches) field.focus({ preventScroll: true });
}

field.addEventListener('input', () => {
  clearTimeout(timer);
  timer = setTimeout(run, DEBOUNCE_MS);
});
byId('query-form').addEventListener('submit', (event) => { event.preventDefault(); run(); });
for (const id of ['query-topics-only', 'query-below']) byId(id).addEventListener('change', run);
for (const button of byId('query-examples').querySelectorAll('button')) {
  button.addEventListener('click', () => { field.value = button.textContent; field.focus(); run(); });
}
byId('query-copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(location.href);
    tell(status, 'The link is in the clipboard.');
  } catch {
    tell(status, 'The browser gives no access to the clipboard; the link is in its address bar.');
  }
});

async function run() {
  clearTimeout(timer);
  current?.abort();
  const own = current = new AbortController();
  const query = field.value;
  history.replaceState(null, '', `#q=${encodeURIComponent(query)}`);
  document.title = query.trim() ? `${query.trim()} – topiccore` : 'topiccore';
  show(byId('query-examples'), !query.trim());
  if (!query.trim()) {
    clear();
    return;
  }
  for (;;) {
    try {
      const answer = await answered(query, own.signal);
      if (own !== current) return;
      tell(message, '');
      shown = { query, ...answer };
      draw();
      return;
    } catch (error) {
      if (own !== current) return;
      if (!(error instanceof ApiError)) throw error;
      results.classList.add('old');
      if (!error.passing) {
        tell(message, error.message);
        return;
      }
      tell(message, `${error.message} Trying again in ${Math.ceil(error.pause)} s.`);
      try {
        await sleep(error.pause, own.signal);
      } catch {
        return;
      }
    }
  }
}

async function answered(query, signal) {
  const options = byId('query-topics-only').checked ? { topics_only: true } : {};
  const started = performance.now();
  const given = await explained({ query, ...options }, signal);
  const milliseconds = performance.now() - started;
  let below = [];
  if (byId('query-below').checked || !given.topics.length) {
    const wide = byId('query-below').checked ? BELOW : NEAREST;
    const emitted = new Set(given.topics.map((label) => label.code));
    const more = await explained({ query, ...options, ...wide }, signal);
    below = more.topics.filter((label) => !emitted.has(label.code));
  }
  return { ...given, below, milliseconds, byCode: await labels(given.model, signal) };
}

// Explanations are dear, and a server makes few at a time: without one is better than later.
async function explained(body, signal) {
  try {
    return await ask('v1/topics', { ...body, explain: true }, { signal });
  } catch (error) {
    if (error.status !== 503) throw error;
    return { ...await ask('v1/topics', body, { signal }), plain: true };
  }
}

function clear() {
  shown = null;
  opened.clear();
  results.replaceChildren();
  results.classList.remove('old');
  tell(status, '');
  tell(message, '');
  show(byId('query-unknown'), false);
  show(byId('query-legend'), false);
}

function draw() {
  const { topics, below, byCode } = shown;
  const kept = document.activeElement?.dataset?.label;
  results.classList.remove('old');
  results.replaceChildren(...grouped([...topics.map((label) => ({ ...label, emitted: true })), ...below], byCode).map(row));
  if (kept) results.querySelector(`[data-label="${CSS.escape(kept)}"]`)?.focus();
  tell(status, summary());
  tell(byId('footer-model'), `model ${shown.model.slice(0, 12)}`);
  const explained = [...topics, ...below].find((label) => label.explanation);
  const unknown = explained?.explanation.unknown ?? [];
  byId('query-unknown').replaceChildren('Not known to the model: ',
    ...unknown.flatMap((word, place) => [place ? ' ' : '', el('span', { class: 'word none' }, word)]));
  show(byId('query-unknown'), unknown.length > 0);
  show(byId('query-legend'), Boolean(explained));
}

function summary() {
  const { topics, byCode, milliseconds, truncated, plain } = shown;
  const took = `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms there and back.`;
  const cut = (truncated ? ' The query is long: only its first tokens were scored.' : '')
    + (plain ? ' The service is busy: no explanations for the moment.' : '');
  if (!topics.length) return `No label reaches its threshold; the nearest are below. ${took}${cut}`;
  const main = topics.filter((label) => byCode.get(label.code)?.topic === null).length;
  const rest = topics.length - main;
  return `${plural(main, 'topic')}${rest ? `, ${plural(rest, 'subtopic')}` : ''}. ${took}${cut}`;
}

// Subtopics behind their topic; topics in the order of their best label.
function grouped(found, byCode) {
  const groups = new Map();
  for (const label of found) {
    const topic = byCode.get(label.code)?.topic ?? label.code;
    if (!groups.has(topic)) groups.set(topic, []);
    groups.get(topic).push({ ...label, topic: byCode.get(label.code)?.topic ?? null });
  }
  const ordered = [];
  for (const [topic, members] of groups) {
    const head = members.filter((label) => label.code === topic);
    const rest = members.filter((label) => label.code !== topic);
    ordered.push(...head, ...rest.map((label) => (head.length ? label
      : { ...label, over: byCode.get(label.topic)?.name })));
  }
  return ordered;
}

function row(label) {
  const { explanation } = label;
  const threshold = explanation?.threshold_score ?? null;
  const id = `why-${label.code}`;
  const open = opened.has(label.code);
  const why = explanation ? el('div', { class: 'why', id, hidden: !open }) : null;
  if (open && why) why.append(...reasons(label));
  const told = `score ${percent(label.score)}, ${threshold === null ? 'no threshold' : `threshold ${percent(threshold)}`}`;
  const head = el(explanation ? 'button' : 'div', {
    class: 'head', type: explanation && 'button', 'data-label': label.code,
    'aria-expanded': explanation && String(open), 'aria-controls': explanation && id,
  },
  el('span', { class: 'label-name' },
    label.over ? el('span', { class: 'dim' }, `${label.over} › `) : null, label.name, ' ',
    el('code', {}, label.code), label.emitted ? null : ' ', label.emitted ? null : el('span', { class: 'tag' }, 'below threshold')),
  el('span', { class: 'track', role: 'img', 'aria-label': told },
    el('span', { class: 'fill', '--share': label.score }),
    threshold === null ? null : el('span', { class: 'mark', '--share': threshold })),
  el('span', { class: 'score', 'aria-hidden': 'true' }, percent(label.score)));
  if (explanation) {
    head.addEventListener('click', () => {
      const now = !opened.has(label.code);
      if (now) { opened.add(label.code); why.replaceChildren(...reasons(label)); } else opened.delete(label.code);
      why.hidden = !now;
      head.setAttribute('aria-expanded', String(now));
    });
  }
  return el('li', { class: `label${label.topic && !label.over ? ' sub' : ''}${label.emitted ? '' : ' below'}` },
    head,
    explanation ? el('div', { class: 'words' }, explanation.shares.filter((x) => Math.abs(x.share) >= LEAST_SHARE).slice(0, WORDS).map(word)) : null,
    why);
}

function word({ text, share }) {
  const strength = Math.min(1, Math.abs(share) / 5).toFixed(2);
  return el('span', { class: `word ${share < 0 ? 'against' : 'for'}`, '--strength': strength }, `${text} `, el('b', {}, signed(share)));
}

function reasons(label) {
  const { explanation: e, emitted } = label;
  const most = Math.max(...e.shares.map((x) => Math.abs(x.share)), ...e.context.map((x) => Math.abs(x.share)), Math.abs(e.bias), 1);
  const line = (name, value, total = false) => el('tr', { class: total ? 'total' : null },
    el('th', { scope: 'row' }, name),
    el('td', { class: 'figure' }, `${value < 0 ? '−' : ''}${Math.abs(value).toFixed(2)}`),
    el('td', { class: 'bar-cell' }, total ? null
      : el('span', { class: `half ${value < 0 ? 'against' : 'for'}`, '--share': Math.abs(value) / most })));
  const brought = emitted && e.threshold !== null && e.context_logit < e.threshold;
  return [
    el('table', {},
      el('caption', {}, 'How the logit comes about'),
      el('tbody', {},
        line('bias', e.bias),
        e.shares.filter((x) => Math.abs(x.share) >= 0.005).map((x) => line(x.text, x.share)),
        e.context.map((x) => line(CONTEXT[x.kind] ?? x.kind, x.share)),
        line('logit', e.context_logit, true),
        e.threshold === null ? null : line('threshold', e.threshold, true))),
    el('p', { class: 'hint' },
      e.threshold === null ? 'The model has no threshold for this label: it is never emitted by itself.'
        : brought ? 'A subtopic of it is emitted and brings it along.'
          : `${emitted ? 'It reaches' : 'It does not reach'} its threshold. `,
      ' ', el('a', { href: `#labels=${encodeURIComponent(label.code)}` }, 'More of the label')),
  ];
}
