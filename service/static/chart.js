// Line charts in SVG, drawn in the size that they are shown in.

import { svg } from './dom.js';

const MARGIN = { top: 14, right: 26, bottom: 34, left: 52 };

// A round step of at most `count` parts of a range.
function step(range, count) {
  const rough = range / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map((x) => x * power).find((x) => x >= rough);
}

function ticks([low, high], count) {
  const by = step(high - low, count);
  const found = [];
  for (let i = Math.ceil(low / by - 1e-9); i * by <= high + 1e-9 * by; i += 1) found.push(i === 0 ? 0 : i * by);
  return found;
}

/*
  series: [{ name, key, points: [[x, y], ...], dots: [[x, y]] }]; key picks the colour.
  x, y: { range: [low, high], format, label }; guides: [{ y, text }].
*/
export function lineChart(place, { title, series, x, y, guides = [], height = 320, hover = null }) {
  const width = Math.max(260, place.clientWidth || 640);
  const inner = { width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom - (y.label ? 14 : 0) };
  const top = MARGIN.top + (y.label ? 14 : 0);
  const toX = (value) => MARGIN.left + inner.width * (value - x.range[0]) / (x.range[1] - x.range[0]);
  const toY = (value) => top + inner.height * (1 - (value - y.range[0]) / (y.range[1] - y.range[0]));
  const bottom = top + inner.height;
  const picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, role: 'img', 'aria-label': title });
  for (const value of ticks(y.range, height < 200 ? 3 : 5)) {
    picture.append(
      svg('line', { class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right, y1: toY(value), y2: toY(value) }),
      svg('text', { class: 'tick', x: MARGIN.left - 8, y: toY(value) + 4, 'text-anchor': 'end' }, y.format(value)));
  }
  for (const value of ticks(x.range, width < 480 ? 4 : 8)) {
    picture.append(svg('text', { class: 'tick', x: toX(value), y: bottom + 18, 'text-anchor': 'middle' }, x.format(value)));
  }
  picture.append(svg('line', { class: 'axis', x1: MARGIN.left, x2: width - MARGIN.right, y1: bottom, y2: bottom }));
  if (x.label) picture.append(svg('text', { class: 'tick', x: width - MARGIN.right, y: bottom - 8, 'text-anchor': 'end' }, x.label));
  if (y.label) picture.append(svg('text', { class: 'tick', x: MARGIN.left - 44, y: 12 }, y.label));
  for (const guide of guides) {
    picture.append(
      svg('line', { class: 'guide', x1: MARGIN.left, x2: width - MARGIN.right, y1: toY(guide.y), y2: toY(guide.y) }),
      svg('text', { class: 'tick', x: MARGIN.left + 8, y: toY(guide.y) - 6 }, guide.text));
  }
  // The first is drawn last, over the others.
  for (const { key, points, dots = [] } of [...series].reverse()) {
    const inside = points.filter(([, value]) => value >= y.range[0]);
    if (inside.length) {
      picture.append(svg('polyline', {
        class: `line s-${key}`, points: inside.map(([a, b]) => `${toX(a).toFixed(1)},${toY(b).toFixed(1)}`).join(' '),
      }));
    }
    for (const [a, b] of dots) picture.append(svg('circle', { class: `dot s-${key}`, cx: toX(a), cy: toY(b), r: 6 }));
  }
  if (hover) {
    const pointer = svg('g', { class: 'pointer', visibility: 'hidden' });
    picture.append(pointer);
    const nearest = (event) => {
      const box = picture.getBoundingClientRect();
      const [a, b] = [(event.clientX - box.left) * width / box.width, (event.clientY - box.top) * height / box.height];
      let best = null;
      for (const one of series) {
        for (const point of [...one.points, ...(one.dots ?? [])]) {
          if (point[1] < y.range[0]) continue;
          const distance = Math.hypot(toX(point[0]) - a, toY(point[1]) - b);
          if (best === null || distance < best.distance) best = { distance, one, point };
        }
      }
      if (best === null || best.distance > 60) { pointer.setAttribute('visibility', 'hidden'); return; }
      const [cx, cy] = [toX(best.point[0]), toY(best.point[1])];
      const text = hover(best.one, best.point);
      const left = cx > width / 2;
      const label = svg('text', { class: 'told', x: cx + (left ? -12 : 12), y: Math.max(cy - 12, 16), 'text-anchor': left ? 'end' : 'start' }, text);
      pointer.replaceChildren(svg('circle', { class: `ring s-${best.one.key}`, cx, cy, r: 5 }), label);
      pointer.setAttribute('visibility', 'visible');
    };
    picture.addEventListener('pointermove', nearest);
    picture.addEventListener('pointerdown', nearest);
    picture.addEventListener('pointerleave', () => pointer.setAttribute('visibility', 'hidden'));
  }
  place.replaceChildren(picture);
}
