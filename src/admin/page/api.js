// Requests to the admin API, and its stream of events.

const KEY = 'cutover-token';
// A status comes each second; two and a half seconds without any byte mean that the proxy is lost.
const SILENCE = 2500;
const RETRY = 1000;

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

// An answer that is not 2xx: RFC 9457.
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail || problem.title);
    this.problem = problem;
  }
}

function headers(more = {}) {
  const secret = token.get();
  return secret ? { authorization: `Bearer ${secret}`, ...more } : more;
}

// Random, also where the page is not loaded over TLS and `crypto.randomUUID` is missing.
function key() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export async function call(method, path, body, { signal } = {}) {
  const more = method === 'GET' ? {} : { 'content-type': 'application/json', 'idempotency-key': key() };
  const response = await fetch(path, {
    method, signal, cache: 'no-store', headers: headers(more), body: body === undefined ? undefined : JSON.stringify(body),
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new Refused({ status: response.status, title: `HTTP ${response.status}`, ...answer });
}

// Follows `/admin/events` for as long as the page is open. `state` hears `live`, `lost` and `login`; after `login` it stops.
export async function follow({ event, state }) {
  for (;;) {
    const stop = new AbortController();
    let timer = setTimeout(() => stop.abort(), SILENCE);
    try {
      const response = await fetch('/admin/events', { headers: headers(), cache: 'no-store', signal: stop.signal });
      if (response.status === 401) return state('login', await response.json().catch(() => ({})));
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(() => stop.abort(), SILENCE);
        const parts = (rest + value).split('\n\n');
        rest = parts.pop();
        for (const part of parts) {
          const fields = Object.fromEntries(part.split('\n').map((line) => {
            const colon = line.indexOf(':');
            return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
          }));
          state('live');
          if (fields.data) event(fields.event, JSON.parse(fields.data));
        }
      }
    } catch {
      // Aborted, refused or reset: all of it means that the proxy is not there.
    } finally {
      clearTimeout(timer);
      stop.abort();
    }
    state('lost');
    await new Promise((resolve) => setTimeout(resolve, RETRY));
  }
}
