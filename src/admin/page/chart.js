// Line charts of the last 15 minutes. Both colors share one scale, so that panels can be compared at a glance.

import { h, svg, text, attribute } from './dom.js';

const SECONDS = 900;
const HEIGHT = 100;

// `lines`: a class and how to read a point. The first line gets its area filled. `shown`: the share of the values that the scale
// shows; the rest runs along its top.
export class Chart {
  constructor(label, format, lines, shown = 1) {
    Object.assign(this, { label, format, lines, shown });
    this.paths = lines.map(({ name }) => svg('path', { class: `line ${name}` }));
    this.area = svg('path', { class: 'area' });
    this.marks = svg('g', { class: 'marks' });
    this.svg = svg('svg', { viewBox: `0 0 ${SECONDS} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': `${label}: no numbers yet` },
      this.area, ...this.paths, this.marks);
    this.top = h('span.top-of-scale', { 'aria-hidden': 'true' });
    this.now = h('b.now');
    this.element = h('div.chart', {}, h('p.chart-label', {}, h('span', {}, label), this.now), h('div.plot', {}, this.top, this.svg));
  }

  // The largest value, or that of a share of the values.
  most(points, share = 1) {
    const values = points.flatMap((point) => this.lines.map(({ read }) => read(point) || 0)).sort((a, b) => a - b);
    return values[Math.ceil(values.length * share) - 1] || 0;
  }

  update(points, most, end, marks) {
    const scale = nice(most);
    const x = (point) => SECONDS - (end - point.ms) / 1000;
    const y = (value) => HEIGHT - 2 - Math.min(1, value / scale) * (HEIGHT - 8);
    this.lines.forEach(({ read }, index) => {
      let path = '', last = null, first = null;
      for (const point of points) {
        const value = read(point);
        if (value == null || x(point) < 0) { last = null; continue; }
        // A gap of some seconds is drawn as one.
        const joined = last != null && point.ms - last < 5000;
        path += `${joined ? 'L' : 'M'}${x(point).toFixed(1)} ${y(value).toFixed(1)}`;
        first ??= x(point);
        last = point.ms;
      }
      attribute(this.paths[index], 'd', path);
      if (index === 0) {
        const single = path.indexOf('M', 1) < 0 && first != null;
        attribute(this.area, 'd', single ? `${path}L${SECONDS} ${HEIGHT}L${first.toFixed(1)} ${HEIGHT}Z` : '');
      }
    });
    const places = marks.map((mark) => `${mark.kind} ${(SECONDS - (end - mark.ms) / 1000).toFixed(1)}`);
    const drawn = places.join();
    if (this.drawn !== drawn) {
      this.drawn = drawn;
      this.marks.replaceChildren(...places.map((place) => {
        const [kind, at] = place.split(' ');
        return svg('line', { class: `mark ${kind}`, x1: at, x2: at, y1: 0, y2: HEIGHT });
      }));
    }
    text(this.top, this.format(scale));
    const latest = points.at(-1);
    const now = latest ? this.lines.map(({ read, word }) => `${word ? `${word} ` : ''}${this.format(read(latest))}`).join(' · ') : '–';
    text(this.now, now);
    attribute(this.svg, 'aria-label', `${this.label}, last 15 minutes: now ${now}, at most ${this.format(this.most(points))}`);
  }
}

// The next of 1, 2, 5, 10, … above a value.
function nice(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}
