// Strokes to 8 x 8 numbers, 0 to 16, as scikit-learn's digits were made: slant taken out, size made equal, written with
// as much ink whatever the digit, on 32 x 32 pixels, and these counted in blocks of 4 x 4.

const PIXELS = 32;
const BLOCK = 4;
export const SIDE = PIXELS / BLOCK;
const INK = 312; // pixels; the digits have 19.5 blocks of 16 on average, from 19.0 (7) to 20.6 (8)
const WIDTH = 20; // the digits' widest; they are all as tall as the picture
const STRETCH = 1.5; // how much wider a narrow digit may become
const FLATTEST = 0.3; // height a width; a dash stays a dash
const THICKEST = 6; // radius of the pen: a dot does not shrink to nothing
const ROUNDS = 4; // the pen's radius and the size depend on each other

/** Strokes [[{x, y}, ...], ...] in any unit, y downwards, to 64 numbers, row by row. */
export function picture(strokes) {
  const counts = new Array(SIDE * SIDE).fill(0);
  const points = upright(dense(strokes));
  if (!points.length) return counts;
  const order = nearest(points);
  for (const pixel of order.slice(0, INK)) {
    const row = Math.floor(pixel / PIXELS / BLOCK), column = Math.floor((pixel % PIXELS) / BLOCK);
    counts[row * SIDE + column] += 1;
  }
  return counts;
}

/** Points at equal distances, so that a slow hand draws nothing else than a quick one. */
function dense(strokes) {
  const step = Math.max(...extent(strokes.flat()).size) / (2 * PIXELS);
  return strokes.flatMap((stroke) => stroke.flatMap((end, i) => {
    const start = stroke[Math.max(i - 1, 0)];
    const count = Math.max(1, Math.ceil(Math.hypot(end.x - start.x, end.y - start.y) / (step || 1)));
    return Array.from({ length: count }, (_, k) => {
      const part = (k + 1) / count;
      return { x: start.x + part * (end.x - start.x), y: start.y + part * (end.y - start.y) };
    });
  }));
}

/** The slant, as the regression of x on y, taken out; at most 45 degrees. */
function upright(points) {
  const mean = (key) => points.reduce((sum, point) => sum + point[key], 0) / points.length;
  const x = mean("x"), y = mean("y");
  let together = 0, tall = 0;
  for (const point of points) {
    together += (point.x - x) * (point.y - y);
    tall += (point.y - y) ** 2;
  }
  const slant = tall > 0 ? Math.min(1, Math.max(-1, together / tall)) : 0;
  return points.map((point) => ({ x: point.x - slant * (point.y - y), y: point.y }));
}

/** All pixels, the nearest to the points first. */
function nearest(points) {
  const { centre, size: [w, h] } = extent(points);
  const distances = new Float64Array(PIXELS * PIXELS);
  let order = [], radius = 3;
  for (let round = 0; round < ROUNDS; round++) {
    const down = (PIXELS - 2 * radius) / (Math.max(h, FLATTEST * w) || 1);
    const across = Math.min(STRETCH * down, (WIDTH - 2 * radius) / (w || 1));
    const xs = Float64Array.from(points, ({ x }) => (x - centre[0]) * across + PIXELS / 2);
    const ys = Float64Array.from(points, ({ y }) => (y - centre[1]) * down + PIXELS / 2);
    for (let pixel = 0; pixel < distances.length; pixel++) {
      const x = (pixel % PIXELS) + 0.5, y = Math.floor(pixel / PIXELS) + 0.5;
      let least = Infinity;
      for (let i = 0; i < xs.length; i++) {
        const distance = (x - xs[i]) * (x - xs[i]) + (y - ys[i]) * (y - ys[i]);
        if (distance < least) least = distance;
      }
      distances[pixel] = least;
    }
    order = Array.from(distances.keys()).sort((a, b) => distances[a] - distances[b] || a - b);
    radius = Math.min(THICKEST, Math.sqrt(distances[order[INK - 1]]));
  }
  return order;
}

function extent(points) {
  const xs = points.map((point) => point.x), ys = points.map((point) => point.y);
  const low = [Math.min(...xs), Math.min(...ys)], high = [Math.max(...xs), Math.max(...ys)];
  return { centre: [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2], size: [high[0] - low[0], high[1] - low[1]] };
}
