// Which panel is shown is in the address behind #, which no server gets to see.

import * as batch from './batch.js';
import { forgetToken, showForget } from './api.js';
import { byId, show } from './dom.js';
import * as labels from './labels.js';
import * as live from './live.js';
import * as model from './model.js';
import * as query from './query.js';

const PANELS = { query, batch, labels, model, live };
const TITLES = { query: 'topiccore', batch: 'Batch', labels: 'Labels', model: 'Model', live: 'Live' };
let entered = null;

function place() {
  const text = location.hash.slice(1);
  const cut = text.indexOf('=');
  const name = cut < 0 ? text : text.slice(0, cut);
  let argument = null;
  if (cut >= 0) {
    try {
      argument = decodeURIComponent(text.slice(cut + 1).replaceAll('+', ' '));
    } catch {
      argument = text.slice(cut + 1);
    }
  }
  if (name === 'q' || !(name in PANELS)) return ['query', name === 'q' ? argument : null];
  return [name, argument];
}

function go() {
  const [name, argument] = place();
  if (entered !== null && entered !== name) PANELS[entered].leave?.();
  entered = name;
  for (const panel of Object.keys(PANELS)) show(byId(panel), panel === name);
  for (const link of document.querySelectorAll('nav a')) {
    if (link.dataset.panel === name) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = name === 'query' ? TITLES.query : `${TITLES[name]} – topiccore`;
  PANELS[name].enter(argument);
}

// The link to a query keeps the one that stands there.
document.querySelector('nav a[data-panel="query"]').addEventListener('click', (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const text = byId('query-text').value;
  if (location.hash === `#q=${encodeURIComponent(text)}`) go();
  else location.hash = `q=${encodeURIComponent(text)}`;
});
byId('skip').addEventListener('click', (event) => { event.preventDefault(); byId('main').focus(); });
byId('forget-token').addEventListener('click', forgetToken);
addEventListener('hashchange', go);
addEventListener('keydown', (event) => {
  const typing = event.target.closest?.('input, textarea, select, dialog');
  if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const field = entered === 'labels' ? byId('labels-search') : byId('query-text');
  if (entered !== 'labels' && entered !== 'query') document.querySelector('nav a[data-panel="query"]').click();
  setTimeout(() => { field.focus(); field.select(); });
  event.preventDefault();
});
showForget();
go();
