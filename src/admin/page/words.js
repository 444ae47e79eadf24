// Numbers, times and transitions in words.

export const other = (color) => (color === 'blue' ? 'green' : 'blue');
export const title = (word) => word.charAt(0).toUpperCase() + word.slice(1);
export const plural = (n, one, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`;

export const count = (n) => Number(n).toLocaleString('en-US');

// Three digits at most that mean something.
export function number(n) {
  if (n == null) return '–';
  if (n >= 10000) return `${Math.round(n / 1000).toLocaleString('en-US')}k`;
  if (n >= 100) return Math.round(n).toLocaleString('en-US');
  return String(Math.round(n * 10) / 10);
}

export function percent(n) {
  if (n > 0 && n < 0.1) return '<0.1 %';
  return `${n >= 10 ? Math.round(n * 10) / 10 : Math.round(n * 100) / 100} %`;
}

export function ms(n) {
  if (n == null) return '–';
  if (n >= 1000) return `${Math.round(n / 100) / 10} s`;
  return `${n >= 100 ? Math.round(n) : n >= 10 ? Math.round(n * 10) / 10 : Math.round(n * 100) / 100} ms`;
}

export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 && s < 600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function time(at) {
  const date = new Date(at);
  const clock = date.toLocaleTimeString('en-GB');
  return Date.now() - date > 20 * 3600e3 || date - Date.now() > 20 * 3600e3
    ? `${date.toLocaleDateString('en-CA')} ${clock}` : clock;
}

export const ago = (at) => span((Date.now() - new Date(at)) / 1000);

export function odds(n) {
  if (n >= 1e9) return 'over 1,000,000,000:1';
  if (n < 1) return 'below 1:1';
  return `${count(Math.floor(n))}:1`;
}

export const named = (color, release) => (release ? `${color} (${release})` : color);

// Which transitions stand on the charts, with their letter.
export const MARKS = { switch: 'S', rollback: 'R', canary: 'C', advance: 'A', abort: 'X', release: 'N', maintenance: 'M', hold: 'P' };

export function happened(t) {
  const to = named(t.to, t.release);
  const watched = t.canary ? named(t.canary.color, t.canary.release) : to;
  const weight = t.canary ? percent(t.canary.weight) : '';
  const asked = t.asked && t.asked.to ? ` to ${named(t.asked.to, t.asked.release)}` : '';
  switch (t.kind) {
    case 'start': return `First start on ${to}`;
    case 'switch': return `Switched to ${to}`;
    case 'rollback': return `Rolled back to ${to}`;
    case 'release': return `${title(t.to)} has release ${t.release}`;
    case 'refused': return t.asked ? `Refused: ${t.asked.kind}${asked}` : 'Refused';
    case 'known_good': return `${to} is known good`;
    case 'hold': return 'Requests paused';
    case 'hold_end': return `Requests unpaused after ${span(t.took_us / 1e6)}`;
    case 'maintenance': return `Maintenance ${t.maintenance ? 'on' : 'off'}`;
    case 'staged': return t.asked ? `Staged ${t.asked.release} on ${t.asked.to}` : 'Staged';
    case 'barrier': return `${to} passed its schema barrier`;
    case 'canary': return `Canary of ${watched} began at ${weight}`;
    case 'advance': return `${watched} gets ${weight}`;
    case 'canary_hold': return `Canary paused at ${weight}`;
    case 'canary_resume': return `Canary resumed at ${weight}`;
    case 'suspect': return `${watched} paused: probably worse`;
    case 'would_roll_back': return `${watched} would have been rolled back (observed only)`;
    case 'rollback_blocked': return `${watched} can't be rolled back`;
    case 'both_unhealthy': return 'The rollback did not help: both releases fail';
    case 'recovered': return 'The rollback helped';
    case 'seen': return t.refusal ? 'Order of the file refused' : 'Order of the file: nothing to do';
    default: return title(t.kind.replaceAll('_', ' '));
  }
}
