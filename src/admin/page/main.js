// The page: follows the proxy's events, and draws what they say.

import { $, text, attribute } from './dom.js';
import { call, follow, token, Refused } from './api.js';
import { View } from './view.js';
import { Actions } from './actions.js';
import { time } from './words.js';

const view = new View();
const actions = new Actions(view);
let lostAt = null;
// Nothing is shown as new before all of it was read after the connection was made.
let live = false;

async function load() {
  const [who, timeline, history, status] = await Promise.all(
    ['/admin/whoami', '/admin/timeline', '/admin/history?limit=50', '/admin/status'].map((path) => call('GET', path)));
  text($('who'), who.role === 'operator' ? who.actor : `${who.actor} · may only look`);
  actions.allowed = who.role === 'operator';
  view.timeline(timeline.points);
  view.history(history.transitions);
  show(status);
  text($('where'), `${status.http_address} · ${status.version}`);
}

function show(status) {
  view.status(status);
  actions.update();
}

function state(now, problem) {
  if (now === 'live') {
    if (live) return;
    live = true;
    load().then(() => {
      lostAt = null;
      $('lost').hidden = true;
      attribute($('link'), 'data-state', 'live');
      text($('link'), 'Live');
      document.body.classList.remove('stale');
      actions.connected = true;
      actions.update();
    }, (error) => {
      live = false;
      if (error instanceof Refused && error.problem.status === 401) login(error.problem);
    });
    return;
  }
  live = false;
  actions.connected = false;
  actions.update();
  if (now === 'login') return login(problem);
  lostAt ??= Date.now();
  document.body.classList.add('stale');
  attribute($('link'), 'data-state', 'lost');
  text($('link'), `Lost at ${time(lostAt)}`);
  const path = view.now ? view.now.file.path : 'the configuration file';
  $('lost').hidden = false;
  text($('lost'), `The proxy can't be reached since ${time(lostAt)}; everything below is from before. `
    + (view.now && view.now.file.orders ? `If the proxy runs, an edit of active in ${path} moves traffic. ` : '') + 'This page keeps trying.');
}

function event(name, data) {
  if (name === 'status') {
    if (document.body.classList.contains('stale') || !view.now) return;
    show(data);
  } else if (name === 'numbers') {
    view.point(data);
    view.charts();
  } else if (name === 'transition') {
    view.history([data, ...view.transitions]);
  } else if (name === 'drained' || name === 'lagged') {
    call('GET', '/admin/history?limit=50').then((history) => view.history(history.transitions), () => {});
  }
}

function login(problem) {
  $('login-problem').hidden = !token.get();
  text($('login-problem'), token.get() ? problem.detail || 'The token was refused.' : '');
  token.forget();
  attribute($('link'), 'data-state', 'wait');
  text($('link'), 'Logged out');
  if (!$('login').open) $('login').showModal();
}

$('login').addEventListener('cancel', (cancel) => cancel.preventDefault());
$('login-form').addEventListener('submit', (submit) => {
  submit.preventDefault();
  token.set($('token').value.trim());
  $('token').value = '';
  $('login').close();
  follow({ event, state });
});

document.body.classList.add('stale');
follow({ event, state });
