// Many queries: sent in chunks, one after the other, and answered into files.

import { ApiError, askPatiently } from './api.js';
import { readTable, writeRow } from './csv.js';
import { byId, el, number, percent, plural, show, tell, tile } from './dom.js';
import { labels } from './labels.js';

const CHUNK = 500;
const CHUNK_BYTES = 400_000;
const MOST_QUERIES = 500_000;
const MOST_BYTES = 64 * 2 ** 20;
const SHOWN = 200;
const COMMONEST = 8;
const LIKELY = /^(query|queries|text|keyword|keywords|search|search[ _]?term|q)$/i;

const form = byId('batch-form');
const area = byId('batch-text');
const message = byId('batch-message');
const status = byId('batch-status');
let table = null;
let running = null;
let done = null;

export function enter() {
  count();
}

area.addEventListener('input', count);
byId('batch-open').addEventListener('click', () => byId('batch-file').click());
byId('batch-file').addEventListener('change', (event) => { open(event.target.files[0]); event.target.value = ''; });
byId('batch-column').addEventListener('change', count);
byId('batch-header').addEventListener('change', () => { columns(); count(); });
byId('batch-forget').addEventListener('click', () => {
  table = null;
  show(byId('batch-columns'), false);
  area.disabled = false;
  count();
  byId('batch-open').focus();
});
form.addEventListener('dragover', (event) => { event.preventDefault(); form.classList.add('over'); });
form.addEventListener('dragleave', () => form.classList.remove('over'));
form.addEventListener('drop', (event) => {
  event.preventDefault();
  form.classList.remove('over');
  open(event.dataTransfer.files[0]);
});
form.addEventListener('submit', (event) => { event.preventDefault(); run(); });
byId('batch-cancel').addEventListener('click', () => running?.abort(new DOMException('', 'AbortError')));
byId('batch-csv').addEventListener('click', () => save('topics.csv', 'text/csv', csv()));
byId('batch-jsonl').addEventListener('click', () => save('topics.jsonl', 'application/jsonl', jsonLines()));
addEventListener('beforeunload', (event) => { if (running) event.preventDefault(); });

async function open(file) {
  if (!file) return;
  tell(message, '');
  if (file.size > MOST_BYTES) {
    tell(message, `${file.name} has more than ${MOST_BYTES / 2 ** 20} MiB; "topiccore score" takes files of any size.`);
    return;
  }
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    tell(message, `${file.name} cannot be read as text in UTF-8.`);
    return;
  }
  const rows = /\.(csv|tsv)$/i.test(file.name) ? readTable(text) : lines(text).map((line) => [line]);
  if (!rows.length) {
    tell(message, `${file.name} is empty.`);
    return;
  }
  table = { name: file.name, rows, width: Math.max(...rows.slice(0, 1000).map((row) => row.length)) };
  const place = rows[0].findIndex((cell) => LIKELY.test(cell.trim()));
  byId('batch-header').checked = place >= 0;
  columns(Math.max(place, 0));
  tell(byId('batch-file-name'), file.name);
  show(byId('batch-columns'), true);
  area.disabled = true;
  count();
}

function columns(chosen = byId('batch-column').selectedIndex) {
  const header = byId('batch-header').checked ? table.rows[0] : [];
  byId('batch-column').replaceChildren(...Array.from({ length: table.width }, (_, place) =>
    el('option', { value: place }, header[place]?.trim() || `column ${place + 1}`)));
  byId('batch-column').selectedIndex = chosen;
}

const lines = (text) => text.replace(/^\ufeff/, '').split(/\r\n|\r|\n/).filter((line) => line.trim());

function queries() {
  if (table === null) return lines(area.value);
  const place = byId('batch-column').selectedIndex;
  return table.rows.slice(byId('batch-header').checked ? 1 : 0).map((row) => row[place] ?? '').filter((text) => text.trim());
}

function count() {
  tell(byId('batch-count'), plural(queries().length, 'query', 'queries'));
}

async function run() {
  const texts = queries();
  if (running || !texts.length) {
    if (!texts.length) {
      tell(message, 'There is no query to label.');
      (table === null ? area : byId('batch-column')).focus();
    }
    return;
  }
  if (texts.length > MOST_QUERIES) {
    tell(message, `${number(texts.length)} queries are more than a browser should hold (${number(MOST_QUERIES)}); "topiccore score" takes any number.`);
    return;
  }
  tell(message, '');
  running = new AbortController();
  working(true);
  done = { answers: [], models: new Set(), topicsOnly: byId('batch-topics-only').checked };
  const started = performance.now();
  let ending = '';
  try {
    await label(texts, running.signal);
  } catch (error) {
    ending = error instanceof ApiError ? `${error.message} ` : 'Cancelled. ';
    if (!(error instanceof ApiError) && error.name !== 'AbortError') throw error;
    if (error instanceof ApiError) tell(message, error.message);
  } finally {
    running = null;
    working(false);
  }
  const seconds = (performance.now() - started) / 1000;
  const { answers } = done;
  tell(status, `${ending}${number(answers.length)} of ${plural(texts.length, 'query', 'queries')} answered in ${seconds.toFixed(seconds < 10 ? 2 : 0)} s (${number(Math.round(answers.length / seconds))} a second).`
    + (done.models.size > 1 ? ' The model was replaced meanwhile: each answer tells its own.' : ''));
  if (answers.length) await draw();
}

function working(on) {
  show(byId('batch-cancel'), on);
  show(byId('batch-progress'), on);
  byId('batch-run').disabled = on;
  if (on) {
    show(byId('batch-done'), false);
    byId('batch-bar').value = 0;
    byId('batch-cancel').focus();
  } else byId('batch-run').focus();
}

async function label(texts, signal) {
  let size = CHUNK;
  let told = -Infinity;
  while (done.answers.length < texts.length) {
    const start = done.answers.length;
    const chunk = cut(texts, start, size);
    try {
      const answer = await askPatiently('v1/topics:batch', { queries: chunk, ...(done.topicsOnly ? { topics_only: true } : {}) }, {
        signal, tries: 30, pausing: (text) => tell(status, text),
      });
      done.models.add(answer.model);
      answer.results.forEach((result, place) => done.answers.push({ query: chunk[place], model: answer.model, ...result }));
    } catch (error) {
      const place = /^queries\[(\d+)\]$/.exec(error.field ?? '');
      if (place && chunk.length === 1) done.answers.push({ query: chunk[0], topics: [], error: error.message });
      // Those before the one at fault go first, then it alone.
      else if (place) size = Math.max(1, Number(place[1]));
      else if (error.status === 413 && size > 1) size = Math.floor(chunk.length / 2);
      else throw error;
      continue;
    }
    size = Math.min(CHUNK, 2 * size);
    const share = done.answers.length / texts.length;
    byId('batch-bar').value = share;
    // A screen reader is not told of every chunk.
    if (performance.now() - told > 1000) {
      told = performance.now();
      tell(status, `${number(done.answers.length)} of ${number(texts.length)} answered (${percent(share, 0)}).`);
    }
  }
}

const encoder = new TextEncoder();

function cut(texts, start, size) {
  const chunk = [];
  let bytes = 0;
  for (let place = start; place < texts.length && chunk.length < size; place += 1) {
    // A lone half of a surrogate pair is no text that JSON in UTF-8 could carry.
    const text = texts[place].toWellFormed?.() ?? texts[place];
    bytes += encoder.encode(JSON.stringify(text)).length + 1;
    if (chunk.length && bytes > CHUNK_BYTES) break;
    chunk.push(text);
  }
  return chunk;
}

async function draw() {
  const { answers } = done;
  const faulty = answers.filter((answer) => answer.error).length;
  const scored = answers.length - faulty;
  const covered = answers.filter((answer) => answer.topics.length).length;
  const emitted = answers.reduce((sum, answer) => sum + answer.topics.length, 0);
  byId('batch-tiles').replaceChildren(
    tile('Queries', number(scored), faulty ? `${number(faulty)} refused` : ''),
    tile('Coverage', percent(covered / scored), `${number(covered)} with a label`),
    tile('Labels per query', (emitted / scored).toFixed(2), done.topicsOnly ? 'topics only' : 'topics and subtopics'));
  show(byId('batch-done'), true);
  rows();
  await topics();
}

async function topics() {
  let byCode;
  try {
    byCode = await labels([...done.models].at(-1));
  } catch { return; }
  const counts = new Map();
  for (const { topics: found } of done.answers) {
    for (const { code } of found) {
      if (byCode.get(code)?.topic === null) counts.set(code, (counts.get(code) ?? 0) + 1);
    }
  }
  const best = [...counts].sort((a, b) => b[1] - a[1]).slice(0, COMMONEST);
  byId('batch-topics').replaceChildren(...best.map(([code, n]) => el('li', {},
    el('span', { class: 'bar-name' }, byCode.get(code).name),
    el('span', { class: 'track' }, el('span', { class: 'fill', '--share': n / best[0][1] })),
    el('span', { class: 'score' }, `${number(n)}`))));
}

function rows() {
  byId('batch-rows').replaceChildren(...done.answers.slice(0, SHOWN).map((answer) => el('tr', {},
    el('td', {}, answer.query),
    el('td', {}, answer.error ? el('span', { class: 'fault' }, answer.error)
      : answer.topics.length ? answer.topics.map((x) => el('span', { class: 'pill' }, `${x.name} `, el('b', {}, percent(x.score, 0))))
        : el('span', { class: 'dim' }, 'none')))));
  tell(byId('batch-preview-title'), done.answers.length > SHOWN ? `The first ${SHOWN} answers` : 'Answers');
}

function* csv() {
  const spreadsheet = byId('batch-spreadsheet').checked;
  if (spreadsheet) yield '\ufeff';
  yield writeRow(['query', 'codes', 'names', 'scores', 'truncated', 'error', 'model'], false);
  for (const { query, topics: found, truncated = false, error = '', model = '' } of done.answers) {
    yield writeRow([query, found.map((x) => x.code).join('|'), found.map((x) => x.name).join('|'),
      found.map((x) => x.score.toFixed(4)).join('|'), truncated, error, model], spreadsheet);
  }
}

function* jsonLines() {
  for (const answer of done.answers) yield `${JSON.stringify(answer)}\n`;
}

function save(name, type, parts) {
  const address = URL.createObjectURL(new Blob([...parts], { type }));
  const link = el('a', { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
