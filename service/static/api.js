// Asks the service. A query goes into bodies only, never into a URL.

import { byId, show, tell } from './dom.js';

const KEY = 'topiccore.token';
const TIMEOUT_MS = 20000;
const LONGEST_WAIT_S = 60;

export class ApiError extends Error {
  constructor(status, detail, { field = null, retryAfter = null } = {}) {
    super(detail);
    this.status = status;
    this.field = field;
    this.retryAfter = retryAfter;
  }

  // Whether the same request may well be answered in a while.
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 502;
  }

  get pause() {
    return this.retryAfter ?? 3;
  }
}

export function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => { clearTimeout(timer); reject(signal.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener('abort', stop); resolve(); }, 1000 * seconds);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
  });
}

export async function ask(path, body, { signal } = {}) {
  for (;;) {
    const token = sessionStorage.getItem(KEY);
    const response = await send(path, body, token, signal);
    if (response.status !== 401) return read(response);
    // Another request may have brought a new token in the meantime.
    if (sessionStorage.getItem(KEY) === token) await askForToken(token !== null);
    signal?.throwIfAborted();
  }
}

async function send(path, body, token, signal) {
  const headers = { Accept: 'application/json' };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), TIMEOUT_MS);
  const stop = () => limit.abort();
  signal?.throwIfAborted();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await fetch(path, {
      method: body === undefined ? 'GET' : 'POST',
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: limit.signal,
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
    });
  } catch (error) {
    signal?.throwIfAborted();
    const late = error.name === 'AbortError';
    throw new ApiError(0, late ? 'The service takes too long to answer.' : 'The service cannot be reached.');
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

async function read(response) {
  let content = null;
  try {
    content = await response.json();
  } catch {
    if (response.ok) throw new ApiError(0, 'The answer of the service broke off.');
  }
  if (response.ok) return content;
  throw new ApiError(response.status, describe(response.status, content?.detail), {
    field: content?.field ?? null,
    retryAfter: wait(response.headers.get('Retry-After')),
  });
}

function describe(status, detail) {
  if (status === 503) return 'The service is busy.';
  return detail || `The service answered with status ${status}.`;
}

// Retry-After is a number of seconds or a date (RFC 9110).
function wait(header) {
  if (header === null) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0.2), LONGEST_WAIT_S) : null;
}

// Tries again for as long as that may help; tells each pause of it.
export async function askPatiently(path, body, { signal, tries = Infinity, pausing = () => {} } = {}) {
  for (let tried = 1; ; tried += 1) {
    try {
      const answer = await ask(path, body, { signal });
      if (tried > 1) pausing('');
      return answer;
    } catch (error) {
      if (!(error instanceof ApiError) || !error.passing || tried >= tries) throw error;
      const seconds = error.pause;
      pausing(`${error.message} Trying again in ${Math.ceil(seconds)} s.`);
      await sleep(seconds, signal);
    }
  }
}

let asking = null;

function askForToken(refused) {
  asking ??= new Promise((resolve, reject) => {
    const dialog = byId('token-dialog');
    const field = byId('token-text');
    tell(byId('token-why'), refused ? 'The token that was given is not valid here, or no more.' : 'Its answers are for those who have one.');
    field.value = '';
    let given = false;
    byId('token-form').onsubmit = (event) => {
      event.preventDefault();
      const token = field.value.trim();
      if (!/^[\x21-\x7e]+$/.test(token)) {
        tell(byId('token-why'), 'A token is made of letters, digits and signs, without spaces.');
        field.focus();
        return;
      }
      sessionStorage.setItem(KEY, token);
      given = true;
      dialog.close();
    };
    byId('token-cancel').onclick = () => dialog.close();
    dialog.onclose = () => {
      asking = null;
      field.value = '';
      showForget();
      if (given) resolve();
      else reject(new ApiError(401, 'Without a token the service does not answer.'));
    };
    dialog.showModal();
    field.focus();
  });
  return asking;
}

export function showForget() {
  const held = sessionStorage.getItem(KEY) !== null;
  show(byId('forget-token'), held);
  // A link cannot carry the token.
  show(byId('api-link'), !held);
}

export function forgetToken() {
  sessionStorage.removeItem(KEY);
  showForget();
}
