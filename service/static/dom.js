// Makes elements. Text always goes in as text, never as markup.

const SVG = 'http://www.w3.org/2000/svg';

export const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name.startsWith('--')) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

export function show(element, visible) {
  element.hidden = !visible;
}

// A message stays out of sight while it is empty.
export function tell(element, text) {
  if (element.textContent !== text) element.textContent = text;
  if (element.classList.contains('notice')) element.hidden = !text;
}

export const percent = (share, digits = 1) =>
  Number.isFinite(share) ? `${(100 * share).toFixed(digits)}\u00a0%` : '–';

export const number = (value) => Number(value).toLocaleString('en');

export function plural(count, word, more = `${word}s`) {
  return `${number(count)} ${count === 1 ? word : more}`;
}

export const signed = (value) => `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(1)}`;

export function tile(name, value, note = '') {
  return el('div', { class: 'tile' },
    el('p', { class: 'name' }, name), el('p', { class: 'value' }, value),
    note ? el('p', { class: 'note' }, note) : null);
}
