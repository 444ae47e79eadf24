// Draws the status: headline, actions, both colors, canary, state and history.

import { $, h, svg, text, attribute, draw, command, prose } from './dom.js';
import { Chart } from './chart.js';
import { other, title, plural, count, number, percent, ms, span, time, ago, odds, named, happened, MARKS } from './words.js';

const LEVELS = { ok: 'OK', note: 'Note', warning: 'Warning', outage: 'Outage' };
// Endpoints that are listed before somebody asks for all of them.
const LISTED = 5;

export class View {
  constructor() {
    this.points = [];
    this.transitions = [];
    this.panels = { blue: new Panel('blue'), green: new Panel('green') };
  }

  timeline(points) {
    this.points = points.map(timed);
  }

  point(point) {
    this.points.push(timed(point));
    if (this.points.length > 900) this.points.shift();
  }

  status(status) {
    this.now = status;
    headline(status);
    moving(status.moving);
    split(status);
    labels(status);
    for (const panel of Object.values(this.panels)) panel.status(status);
    canary(status);
    facts(status);
  }

  charts() {
    const end = this.points.length ? this.points.at(-1).ms : Date.now();
    const marks = this.transitions.filter((t) => MARKS[t.kind]).map((t) => ({ ms: Date.parse(t.at), kind: t.kind, transition: t }))
      .filter((mark) => mark.ms > end - 900e3 && mark.ms <= end);
    const panels = Object.values(this.panels);
    for (const index of panels[0].charts.keys()) {
      const most = Math.max(...panels.map((panel) => panel.charts[index].most(this.points, panel.charts[index].shown)));
      for (const panel of panels) panel.charts[index].update(this.points, most, end, marks);
    }
    for (const panel of panels) panel.strip(marks, end);
  }

  // All transitions, newest first, with their numbers; one that is not on disk yet has none.
  history(transitions) {
    const known = new Set();
    this.transitions = transitions.filter((t) => !t.sequence || (!known.has(t.sequence) && known.add(t.sequence))).slice(0, 50);
    history(this.transitions);
    if (this.now) for (const panel of Object.values(this.panels)) panel.status(this.now);
  }
}

const timed = (point) => ({ ...point, ms: Date.parse(point.at) });

function headline({ headline, active, release }) {
  attribute($('headline'), 'data-level', headline.level);
  text($('level'), LEVELS[headline.level] || headline.level);
  text($('sentence'), headline.sentence);
  $('next').hidden = !headline.next;
  draw($('next'), [headline.purpose, headline.next], () => [headline.purpose ? `${headline.purpose}: ` : '', command(headline.next || '')]);
  draw($('others'), headline.others, () => (headline.others || []).map((finding) =>
    h('li', { 'data-level': finding.level }, h('b', {}, `${LEVELS[finding.level] || finding.level}: `), ...prose(finding.sentence),
      finding.next ? h('span', {}, ' ', command(finding.next)) : null)));
  document.title = `${headline.level === 'ok' ? '' : `${(LEVELS[headline.level] || '').toUpperCase()} · `}${named(active, release)} · Cutover`;
}

function moving(move) {
  $('moving').hidden = !move;
  if (!move) return;
  const left = move.ends_in_ms == null ? '' : `, ${span(move.ends_in_ms / 1000)} left`;
  text($('moving-text'), `${title(move.whose)} to ${named(move.to, move.release)} waits`
    + `${move.waits_for ? ` for ${move.waits_for}` : ''}${left}${move.reason ? ` (${move.reason})` : ''}`);
}

function split({ split }) {
  for (const color of ['blue', 'green']) {
    $(`split-${color}`).style.flexGrow = split[color];
    $(`split-${color}`).hidden = !split[color];
    text($(`split-${color}`), split[color] >= 8 ? `${color} ${percent(split[color])}` : '');
  }
  attribute($('split'), 'aria-label', `Share of the requests: blue ${percent(split.blue)}, green ${percent(split.green)}`);
}

function labels(status) {
  const { rollback, active, freeze, hold, maintenance } = status;
  const state = rollback.possible ? 'ready' : rollback.would_need || rollback.guards ? 'blocked' : 'impossible';
  attribute($('rollback'), 'data-state', state);
  const target = rollback.to ? `to ${named(rollback.to, rollback.release)}` : '';
  text($('rollback-to'), state === 'ready' ? target : `${target ? `${target}: ` : ''}${state}`);
  text($('switch-label'), `Switch to ${other(active)}`);
  text($('freeze-label'), freeze ? 'Unfreeze' : 'Freeze');
  text($('pause-label'), hold ? 'Unpause requests' : 'Pause requests');
  text($('maintenance-label'), maintenance ? 'Maintenance off' : 'Maintenance on');
}

// One color: who it is, what it gets, how it does.
class Panel {
  constructor(color) {
    this.color = color;
    const shape = color === 'blue' ? svg('circle', { cx: 12, cy: 12, r: 11 }) : svg('rect', { x: 1, y: 1, width: 22, height: 22, rx: 4 });
    this.charts = [
      new Chart('Requests a second', number, [{ name: 'requests', read: (point) => point[color].requests }]),
      new Chart('Errors (5xx)', percent, [{ name: 'errors', read: (point) => share(point[color]) }]),
      new Chart('Latency', ms, [
        { name: 'p50', word: 'p50', read: (point) => point[color].p50_ms },
        { name: 'p99', word: 'p99', read: (point) => point[color].p99_ms },
      ], 0.98),
    ];
    this.badge = h('span.badge');
    this.release = h('p.release');
    this.since = h('p.since');
    this.flow = h('p.flow');
    this.marks = h('div.strip', { 'aria-hidden': 'true' });
    this.endpoints = h('div.endpoints');
    this.stop = h('p.stop');
    $(color).replaceChildren(
      h('header', {}, svg('svg', { viewBox: '0 0 24 24', class: 'shape', 'aria-hidden': 'true' }, shape),
        h('h2', { id: `${color}-name` }, title(color)), this.badge),
      h('div.inside', {}, this.release, this.since, this.marks, ...this.charts.map((chart) => chart.element), h('p.axis', { 'aria-hidden': 'true' }, h('span', {}, '15 min ago'), h('span', {}, 'now')), this.flow, this.endpoints, this.stop));
  }

  status(status) {
    const color = this.color, own = status[color], live = status.active === color, share = status.split[color];
    const drains = status.draining && status.draining.color === color ? status.draining : null;
    const state = live ? 'live' : share > 0 ? 'canary' : drains ? 'draining' : 'idle';
    attribute($(color), 'data-state', state);
    const words = { live: 'LIVE', canary: status.canary && status.canary.stage === 'bake' ? 'HOLD-BACK' : 'CANARY', draining: 'DRAINING', idle: 'IDLE' };
    text(this.badge, `${words[state]}${share > 0 ? ` · ${percent(share)}` : ''}`);
    text(this.release, own.release || 'no release');
    text(this.since, live ? since(status, this.color) : '');
    const inside = [plural(own.requests, 'request'), plural(own.streams, 'stream'), plural(own.tunnels, 'tunnel')];
    text(this.flow, `In flight: ${inside.join(', ')}${drains ? ` · rest is cut off in ${span(drains.ends_in_ms / 1000)}` : ''}`);
    this.list(own.endpoints);
    const needs = own.safe_to_stop && own.safe_to_stop.needed_by || [];
    text(this.stop, live ? '' : own.safe_to_stop && own.safe_to_stop.safe ? 'May be stopped'
      : `Still needed: ${needs.map((need) => need.detail + (need.until ? ` until ${time(need.until)}` : '')).join('; ')}`);
  }

  list(endpoints) {
    const up = endpoints.filter((endpoint) => endpoint.health === 'up' && endpoint.ejected_for_ms == null).length;
    const bad = endpoints.filter((endpoint) => endpoint.health !== 'up' || endpoint.ejected_for_ms != null || endpoint.answers_as);
    const good = endpoints.filter((endpoint) => !bad.includes(endpoint));
    const first = [...bad.slice(0, 2 * LISTED), ...good.slice(0, Math.max(0, LISTED - bad.length))];
    const rest = endpoints.filter((endpoint) => !first.includes(endpoint));
    draw(this.endpoints, [up, first.map(shown), rest.length], () => {
      const list = h('ul'), all = rest.length ? h('details', {}, h('summary', {}, `${count(rest.length)} more`), list) : null;
      // The rows of a thousand endpoints are made when somebody wants to see them.
      all?.addEventListener('toggle', () => list.replaceChildren(...(all.open ? rest.map(row) : [])));
      return [h('h3', { 'data-all': up === endpoints.length }, endpoints.length ? `${count(up)} of ${plural(endpoints.length, 'endpoint')} up` : 'No endpoints'),
        h('ul', {}, first.map(row)), all];
    });
  }

  strip(marks, end) {
    draw(this.marks, marks.map((mark) => [mark.kind, Math.round((end - mark.ms) / 2000)]), () => marks.map((mark) => {
      const at = h(`span.${mark.kind}`, { title: `${time(mark.transition.at)} ${happened(mark.transition)}` }, MARKS[mark.kind]);
      at.style.left = `${100 - (end - mark.ms) / 9000}%`;
      return at;
    }));
  }
}

// How long a color serves, and who put it there.
function since(status, color) {
  const move = View.last && View.last.to === color ? View.last : null;
  const by = move ? ` · by ${move.actor}${move.reason ? `: ${move.reason}` : ''}` : '';
  return `Live since ${time(status.since)} (${ago(status.since)})${by}`;
}

const share = ({ requests, errors }) => (requests > 0 ? Math.min(100, (errors / requests) * 100) : null);
const shown = (endpoint) => [endpoint.upstream, endpoint.endpoint, endpoint.health, endpoint.detail, endpoint.ejected_for_ms != null, endpoint.answers_as, endpoint.leaving];

function row(endpoint) {
  const ejected = endpoint.ejected_for_ms != null;
  const state = ejected ? 'ejected' : endpoint.health;
  const notes = [ejected ? 'ejected' : endpoint.detail, endpoint.answers_as && `answers as ${endpoint.answers_as.release}`, endpoint.leaving && 'leaving'];
  return h('li', { 'data-health': state },
    h('span.mark-up', { 'aria-hidden': 'true' }, { up: '▲', down: '▼' }[state] || '◆'),
    h('b', {}, `${state} `), h('span.address', {}, `${endpoint.upstream === 'default' ? '' : `${endpoint.upstream} `}${endpoint.endpoint}`),
    h('span.detail', {}, ` ${notes.filter(Boolean).join(', ')}, ${ago(endpoint.since)}`));
}

function canary({ canary }) {
  $('canary').hidden = !canary;
  if (!canary) return;
  const { evidence, judgement, next, plan, held } = canary;
  for (const [name, shown] of [['hold', !held], ['resume', held]]) $('canary').querySelector(`[data-action=${name}]`).hidden = !shown;
  draw($('canary-body'), canary, () => {
    const bake = canary.stage === 'bake';
    const bar = (label, odd, word) => odd && h('div.odds', {},
      h('span', {}, label), h('meter', { min: 0, max: 1, value: Math.min(1, Math.log(Math.max(1, odd.odds)) / Math.log(odd.limit)), 'aria-label': label }),
      h('span', {}, `${odds(odd.odds)} (${word} at ${odds(odd.limit)})`));
    const steps = plan.steps.length ? h('ol.steps', {}, [...plan.steps, 100].map((weight, index) =>
      h('li', { 'aria-current': (bake ? plan.steps.length : canary.step - 1) === index ? 'step' : null }, percent(weight)))) : null;
    return [
      h('h2', { id: 'canary-title' }, `${bake ? 'Bake' : 'Canary'} of ${named(canary.color, canary.release)} · ${percent(canary.weight)}${held ? ' · paused' : ''}`),
      steps,
      held ? h('p', {}, `Paused by ${held.by}, ${ago(held.since)} ago: ${held.reason}`) : null,
      judgement ? h('p.judgement', { 'data-verdict': judgement.verdict }, judgement.words) : null,
      evidence ? [bar('Worse', evidence.worse, 'rolled back'), bar('No worse', evidence.no_worse, 'next step'), bar('4xx and clients that left', evidence.hold, 'paused')] : null,
      next ? h('p', {}, coming(next)) : null,
    ];
  });
}

function coming(next) {
  if (next.stopped) return `Does not advance by itself: ${next.stopped.replaceAll('_', ' ')}.`;
  const needs = next.needs_requests ? `, when about ${count(next.needs_requests)} more requests show that it is no worse` : '';
  return `Next: ${percent(next.weight)} in ${span(next.in_s)} at the earliest${needs}.`;
}

function facts(status) {
  const { rollback, freeze, hold, file } = status;
  const rows = [];
  const add = (name, level, ...what) => rows.push([name, level, what.filter((part) => part != null && part !== false)]);
  if (rollback.possible) add('Rollback', 'ok', `Ready: to ${named(rollback.to, rollback.release)}`);
  else add('Rollback', 'warning', ...prose(rollback.why || 'Impossible'));
  if (rollback.command && !(rollback.why || '').includes(rollback.command)) rows.at(-1)[2].push(' ', command(rollback.command));
  if (status.stores) add('Schema', rollback.safe === 'no' ? 'warning' : 'ok', `Rollback safe: ${rollback.safe}${rollback.unsafe_why ? ` (${rollback.unsafe_why})` : ''}; `
    + status.stores.map((store) => `${store.store} ${store.version == null ? 'unknown' : `at ${store.version}`}`).join(', '));
  if (status.known_good_in_s != null && !status.known_good) add('Known good', 'note', `${status.release} becomes a rollback target in ${span(status.known_good_in_s)}, if it keeps serving`);
  if (freeze) add('Frozen', 'note', `By ${freeze.by}${freeze.until ? ` until ${time(freeze.until)}` : ''}: ${freeze.reason}`);
  if (hold) add('Paused', 'warning', `${plural(hold.requests, 'request')} held by ${hold.actor} for ${ago(hold.since)}${hold.reason ? `: ${hold.reason}` : ''}; ends in ${span(hold.ends_in_ms / 1000)}`);
  if (status.maintenance) add('Maintenance', 'warning', 'Every request gets the maintenance answer');
  for (const held of status.quarantine || []) add('Quarantine', 'note', `${held.release}, ${ago(held.since)} ago by ${held.by}: ${held.reason}`);
  if (status.last_drain) add('Last drain', status.last_drain.cut_off ? 'warning' : 'ok', `${title(status.last_drain.color)} in ${ms(status.last_drain.took_us / 1000)}; ${plural(status.last_drain.cut_off, 'request')} cut off`);
  add('File', file.error || file.disagrees ? 'warning' : 'ok', file.error ? `${file.path} is invalid; the last good one is in force` : `${file.path} says active = "${file.active}"${file.disagrees ? ', which is not in force' : ''}`);
  // Each row is drawn by itself, so that a button under the pointer stays the same button.
  draw($('facts'), rows.map(([name, level]) => [name, level]), () => rows.map(([name, level]) => [h('dt', { 'data-level': level }, name), h('dd')]));
  rows.forEach(([, , what], index) => draw($('facts').querySelectorAll('dd')[index], what.map((part) => part.textContent ?? part), () => what));
}

function history(transitions) {
  View.last = transitions.find((t) => ['switch', 'rollback', 'start', 'release'].includes(t.kind));
  draw($('history'), transitions, () => transitions.slice(0, 15).map((t) => h('tr', { 'data-kind': t.kind },
    h('td', {}, h('time', { datetime: t.at, title: t.at }, time(t.at))),
    h('td', {}, h('b', {}, happened(t)), t.refusal ? h('span.note', {}, ...prose(t.refusal)) : null,
      t.judgement && t.trigger === 'automatic' ? h('span.note', {}, t.judgement.words) : null),
    h('td', {}, t.actor, t.trigger === 'api' ? '' : h('span.note', {}, t.trigger)),
    h('td', {}, t.reason || ''))));
}
