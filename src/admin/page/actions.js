// Every move: what will happen now, a reason, and then the request. A refusal is shown in full.

import { $, h, text, draw, command, prose } from './dom.js';
import { call, Refused } from './api.js';
import { other, title, plural, percent, ms, span, named, odds } from './words.js';

// The guard that a refusal of this code comes from, as `force` names it.
const GUARDS = {
  unhealthy: 'health', check_failed: 'health', quarantined: 'quarantine', rollback_unsafe: 'schema', invalid_config: 'file',
  file_busy: 'file', cooling_down: 'cooldown',
};

// For each action: its title, what it asks before (`ask`), what will happen (`effects`), its fields, and the request.
const ACTIONS = {
  rollback: {
    title: (s) => (s.rollback.to ? `Roll back to ${named(s.rollback.to, s.rollback.release)}?` : 'Roll back?'),
    ask: () => call('POST', '/admin/rollback', { dry_run: true }),
    guards: (s) => s.rollback.guards || [],
    // Shown at once: an incident waits for no probe.
    effects: (s, answer) => back(s, answer),
    fields: () => [check('quarantine', 'The release that serves now is bad: refuse it from now on (quarantine)')],
    send: (s, values, signal) => call('POST', '/admin/rollback', { ...common(s, values), quarantine: values.quarantine }, { signal }),
    go: 'Roll back',
  },
  switch: {
    title: (s) => `Switch to ${named(other(s.active), s[other(s.active)].release)}?`,
    ask: (s) => call('POST', '/admin/switch', { to: other(s.active), dry_run: true }),
    effects: (s, answer) => move(s, answer),
    send: (s, values, signal) => call('POST', '/admin/switch', { to: other(s.active), ...common(s, values) }, { signal }),
    go: (s) => `Switch to ${other(s.active)}`,
  },
  canary: {
    title: (s) => `Start a canary of ${named(other(s.active), s[other(s.active)].release)}?`,
    ask: (s) => call('POST', '/admin/switch', { to: other(s.active), dry_run: true }),
    effects: (s) => [`${title(other(s.active))} gets a first share of the requests, and more with each step while it is shown to be no worse.`,
      'A release that is worse is taken back by itself.'],
    fields: () => [field('weight', 'First share (empty: as configured)', { placeholder: '5%', pattern: '\\d{1,2}(\\.\\d{1,2})?\\s*%?' })],
    send: (s, values, signal) => call('POST', '/admin/canary', { ...common(s, values), weight: percentage(values.weight) }, { signal }),
    go: 'Start canary',
  },
  advance: {
    title: (s) => `Advance ${named(s.canary.color, s.canary.release)}?`,
    effects: (s) => [s.canary.next ? `It gets ${percent(s.canary.next.weight)} of the requests now, whatever is proved.` : 'It gets the next share now.'],
    fields: () => [check('full', 'All of the traffic at once')],
    send: (s, values, signal) => call('POST', '/admin/canary/advance', { if_generation: s.generation, reason: values.reason, full: values.full }, { signal }),
    go: 'Advance',
  },
  hold: {
    title: () => 'Pause the canary?',
    effects: (s) => [`${title(s.canary.color)} stays at ${percent(s.canary.weight)}. A rollback by itself stays armed.`],
    send: (s, values) => call('POST', '/admin/canary/pause', { reason: values.reason }),
    go: 'Pause',
  },
  resume: {
    title: () => 'Resume the canary?',
    effects: () => ['Its step begins anew, and it advances again by itself.'],
    send: (s, values) => call('POST', '/admin/canary/resume', { reason: values.reason }),
    go: 'Resume',
  },
  abort: {
    title: (s) => `Abort ${named(s.canary.color, s.canary.release)}?`,
    effects: (s) => (s.canary.stage === 'bake'
      ? [`It has the traffic and bakes, so this is a rollback: all traffic moves back to ${named(other(s.canary.color), s.canary.stable)}.`]
      : [`It gets no more requests from now on; ${named(s.active, s.release)} gets all of them.`]),
    fields: () => [check('quarantine', 'The release is bad: refuse it from now on (quarantine)')],
    send: (s, values) => call('POST', '/admin/canary/abort', { reason: values.reason, quarantine: values.quarantine }),
    go: 'Abort',
  },
  freeze: {
    title: (s) => (s.freeze ? 'Unfreeze?' : 'Freeze?'),
    effects: (s) => (s.freeze ? [`The freeze of ${s.freeze.by} ends (${s.freeze.reason}). Traffic can be moved again.`]
      : ['Nothing but a rollback moves traffic until somebody unfreezes. Traffic is served as now.']),
    fields: (s) => (s.freeze ? [] : [field('until', 'Ends by itself (empty: when somebody unfreezes)', { type: 'datetime-local' })]),
    send: (s, values) => (s.freeze ? call('DELETE', '/admin/freeze', { reason: values.reason })
      : call('POST', '/admin/freeze', { reason: values.reason, until: values.until ? new Date(values.until).toISOString() : undefined })),
    go: (s) => (s.freeze ? 'Unfreeze' : 'Freeze'),
  },
  pause: {
    title: (s) => (s.hold ? 'Unpause requests?' : 'Pause all requests?'),
    effects: (s) => (s.hold ? [`${plural(s.hold.requests, 'request')} that wait now go to ${named(s.active, s.release)}.`]
      : ['New requests wait; in-flight requests finish. When the time is up, those that wait are served.']),
    fields: (s) => (s.hold ? [] : [field('timeout', 'For at most', { value: '60s', required: true, pattern: '\\d+(s|m|h)' })]),
    send: (s, values) => (s.hold ? call('DELETE', '/admin/pause', { reason: values.reason })
      : call('POST', '/admin/pause', { reason: values.reason, timeout: values.timeout })),
    go: (s) => (s.hold ? 'Unpause' : 'Pause'),
  },
  maintenance: {
    title: (s) => (s.maintenance ? 'End maintenance?' : 'Begin maintenance?'),
    effects: (s) => [s.maintenance ? `Requests are served by ${named(s.active, s.release)} again.`
      : 'Every request gets the maintenance answer (503) from now on, and after a restart, until somebody ends it.'],
    send: (s, values) => call(s.maintenance ? 'DELETE' : 'POST', '/admin/maintenance', { reason: values.reason }),
    go: (s) => (s.maintenance ? 'End maintenance' : 'Begin maintenance'),
  },
};

const common = (s, values) => ({ if_generation: s.generation, reason: values.reason, force: values.force.length ? values.force : undefined });
const percentage = (typed) => (typed ? `${typed.replace(/\s*%?\s*$/, '')}%` : undefined);
const check = (name, label) => h('p', {}, h('label.check', {}, h('input', { type: 'checkbox', name }), label));
const field = (name, label, attributes) => h('p', {}, h('label', { for: `field-${name}` }, label), h('input', { id: `field-${name}`, name, autocomplete: 'off', ...attributes }));

// What a move would do, from the answer of its dry run.
function move(s, answer) {
  const from = s.active, to = answer.active, drain = s[from].requests + s[from].streams + s[from].tunnels;
  if (!answer.changed) return [`${named(to, answer.release)} serves already; nothing would change.`];
  const up = s[to].endpoints.filter((endpoint) => endpoint.health === 'up').length;
  return [
    `All traffic moves from ${named(from, s.release)} to ${named(to, answer.release)} between two requests.`,
    `${up} of ${plural(s[to].endpoints.length, 'endpoint')} of ${to} up${answer.checks ? `; ${plural(answer.checks.length, 'gate check')} passed` : ''}.`,
    `${title(from)} finishes ${plural(drain, 'request')} in flight.`,
    s.canary && s.canary.stage !== 'bake' ? `The canary of ${s.canary.release} ends.` : null,
    answer.rollback ? (answer.rollback.possible ? `The way back afterwards: ${named(answer.rollback.to, answer.rollback.release)}, schema ${answer.rollback.safe}.`
      : `Afterwards there is no way back: ${answer.rollback.why || ''}`) : null,
    ...(answer.warnings || []),
  ].filter(Boolean);
}

// What a rollback would do, from the status, and from its dry run as soon as that is answered.
function back(s, answer) {
  const { to, release } = s.rollback;
  if (answer && answer.changed && to !== s.active) return move(s, answer);
  if (s.moving) return [`${title(s.moving.whose)} to ${named(s.moving.to, s.moving.release)} is called off; ${named(s.active, s.release)} keeps serving.`];
  if (!to) return ['There is nothing to roll back to.'];
  if (to === s.active) return [`The canary of ${s.canary ? s.canary.release : 'the other color'} ends; ${named(to, release)} gets all requests.`];
  return move(s, { active: to, release, changed: true });
}

// What came of it, in a sentence; true if it is well.
function outcome(name, s, answer) {
  const warnings = [...(answer.warnings || []), answer.file_problem].filter(Boolean);
  const cancelled = answer.cancelled ? ` Cancelled ${answer.cancelled.whose}.` : '';
  let sentence;
  if (answer.changed === false) sentence = answer.cancelled ? '' : 'Nothing to change.';
  else if (name === 'switch' || name === 'rollback') {
    sentence = `${name === 'switch' ? 'Switched' : 'Rolled back'} to ${named(answer.active, answer.release)} in ${ms(answer.took_us / 1000)}, generation ${answer.generation}.`;
  } else if (name === 'canary' || name === 'advance') {
    sentence = answer.canary ? `${named(answer.canary.color, answer.canary.release)} gets ${percent(answer.canary.weight)}.` : 'All traffic moved.';
  } else sentence = { hold: 'Canary paused.', resume: 'Canary resumed.', abort: 'Aborted.', freeze: s.freeze ? 'Unfrozen.' : 'Frozen.',
    pause: s.hold ? 'Requests are served again.' : 'Requests are paused.', maintenance: s.maintenance ? 'Maintenance is over.' : 'Maintenance is on.' }[name];
  return [[sentence + cancelled, ...warnings].join(' ').trim(), !warnings.length];
}

// A refusal in full.
function problem(refusal) {
  const parts = [h('p', {}, h('b', {}, `${refusal.title}. `), ...prose(refusal.detail || ''))];
  const failed = (refusal.endpoints || []).filter((endpoint) => !endpoint.passed);
  if (failed.length) parts.push(h('ul', {}, failed.slice(0, 10).map((endpoint) => h('li', {}, `${endpoint.endpoint}: ${endpoint.detail}`))));
  for (const check of (refusal.checks || []).filter((check) => !check.passed)) {
    parts.push(h('p', {}, `Check ${check.check} failed at ${plural(check.failed, 'endpoint')}`),
      h('ul', {}, (check.failures || []).map((failure) => h('li', {}, `${failure.endpoint}: ${failure.found}; wanted ${failure.wanted}`))));
  }
  for (const error of refusal.errors || []) parts.push(h('p', {}, `Line ${error.line}: ${error.message}${error.help ? ` (${error.help})` : ''}`));
  if (refusal.steps) parts.push(h('ol', {}, refusal.steps.map((step) => h('li', {}, step.what || step.step))));
  return parts;
}

export class Actions {
  constructor(view) {
    this.view = view;
    this.allowed = false;
    this.connected = false;
    document.addEventListener('click', ({ target }) => {
      const button = target.closest('button[data-action]');
      if (button && button.getAttribute('aria-disabled') !== 'true') this.open(button.dataset.action);
    });
    $('cancel-move').addEventListener('click', () => this.cancel());
    $('ask-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.go();
    });
    $('ask-cancel').addEventListener('click', () => this.close());
    $('ask').addEventListener('cancel', (event) => {
      event.preventDefault();
      this.close();
    });
  }

  update() {
    const s = this.view.now;
    for (const button of document.querySelectorAll('button[data-action], #cancel-move')) {
      const off = !this.allowed || !this.connected;
      button.setAttribute('aria-disabled', off);
      button.title = !this.connected ? 'The proxy is not connected' : this.allowed ? '' : 'This token may only look';
    }
    const busy = document.querySelector('[data-action=canary]');
    busy.hidden = Boolean(s && s.canary && s.canary.stage !== 'bake');
    if (this.waits && s && s.moving) this.wait(s.moving);
  }

  async open(name) {
    const s = this.view.now, action = ACTIONS[name];
    if (!s || !action) return;
    Object.assign(this, { name, action, s, waits: null });
    const said = (value) => (typeof value === 'function' ? value(s) : value);
    text($('ask-title'), action.title(s));
    text($('ask-go'), said(action.go));
    $('ask-go').disabled = false;
    $('ask-problem').hidden = $('ask-wait').hidden = true;
    $('ask-fields').replaceChildren(...(action.fields ? action.fields(s) : []));
    text($('ask-cancel'), 'Close');
    const effects = (lines) => $('ask-effects').replaceChildren(h('ul', {}, lines.map((line) => h('li', {}, ...prose(line)))));
    if (!$('ask').open) $('ask').showModal();
    $('ask-reason').focus();
    if (!action.ask) return effects(action.effects(s));
    if (name === 'rollback') effects(action.effects(s));
    else $('ask-effects').replaceChildren(h('p', {}, 'Asking the proxy what will happen …'));
    try {
      const answer = await action.ask(s);
      if (this.s === s && this.name === name) effects(action.effects(s, answer));
    } catch (error) {
      if (this.s !== s || this.name !== name) return;
      $('ask-effects').replaceChildren(h('p', {}, 'It would be refused now:'));
      this.refused(error, action.guards && [...action.guards(s), GUARDS[error.problem?.code]]);
    }
  }

  // Shows why, and offers to override the guard where there is one.
  refused(error, guards) {
    if (!(error instanceof Refused)) error = new Refused({ title: 'No answer', detail: `${error.message}. The command may have been carried out all the same: look at the headline.` });
    const refusal = error.problem;
    $('ask-problem').hidden = false;
    $('ask-problem').replaceChildren(...problem(refusal));
    for (const guard of guards || [GUARDS[refusal.code]]) {
      if (!guard || $('ask-fields').querySelector(`[value="${guard}"]`)) continue;
      $('ask-fields').append(h('p.force', {}, h('label.check', {}, h('input', { type: 'checkbox', name: 'force', value: guard }), `Override the guard “${guard}”: do it all the same`)));
    }
  }

  values() {
    const form = new FormData($('ask-form'));
    return { reason: form.get('reason').trim(), force: form.getAll('force'), full: form.has('full'), quarantine: form.has('quarantine'),
      weight: form.get('weight'), until: form.get('until'), timeout: form.get('timeout') };
  }

  async go() {
    const { name, action, s } = this, values = this.values();
    if (!values.reason || this.waits) return $('ask-reason').focus();
    const stop = this.waits = new AbortController();
    $('ask-go').disabled = true;
    $('ask-problem').hidden = true;
    text($('ask-cancel'), 'Cancel it');
    this.began = Date.now();
    this.wait(null);
    try {
      const answer = await action.send(s, values, stop.signal);
      this.waits = null;
      this.done(...outcome(name, s, answer));
      $('ask').close();
      $('ask-reason').value = '';
    } catch (error) {
      this.waits = null;
      $('ask-go').disabled = false;
      $('ask-wait').hidden = true;
      text($('ask-cancel'), 'Close');
      if (stop.signal.aborted) {
        $('ask').close();
        return this.done('Cancelled before any traffic moved, unless the headline says otherwise.', true);
      }
      this.refused(error);
      // The next try goes by the state as it is now.
      this.s = this.view.now;
    }
  }

  wait(move) {
    $('ask-wait').hidden = false;
    text($('ask-wait'), `Waiting for ${(move && move.waits_for) || 'the proxy'}, ${span((Date.now() - this.began) / 1000)} …`);
  }

  close() {
    if (this.waits) this.waits.abort();
    else $('ask').close();
  }

  // A rollback of the generation in force calls off what has not moved traffic yet, and refuses once it has.
  async cancel() {
    const s = this.view.now;
    if (!s || !s.moving || !this.allowed) return;
    try {
      const answer = await call('POST', '/admin/rollback', { if_generation: s.generation, reason: `Cancelled ${s.moving.whose} on the page` });
      this.done(...outcome('cancel', s, { ...answer, changed: false }));
    } catch (error) {
      this.done(error.problem && error.problem.code === 'stale_generation' ? 'Too late: traffic has moved already.' : error.message, false);
    }
  }

  done(sentence, well) {
    $('outcome').hidden = false;
    $('outcome').dataset.level = well ? 'ok' : 'warning';
    draw($('outcome'), [sentence, Date.now()], () => prose(sentence));
    // An old success would contradict the headline.
    clearTimeout(this.fading);
    if (well) this.fading = setTimeout(() => { $('outcome').hidden = true; }, 60e3);
  }
}
