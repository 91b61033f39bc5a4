// The penalties of lottery_lib/regularizers.py on m ≥ 0, by the same formulas.

const DELTA = 1e-3; // of Lp
const RAW = {
  l1: [(m) => m, () => 1],
  log: [(m, eps) => Math.log1p(m / eps), (m, eps) => 1 / (m + eps)],
  lp: [(m, p) => DELTA ** p * Math.expm1(p * Math.log1p(m / DELTA)), (m, p) => p * (m + DELTA) ** (p - 1)],
  mcp: [
    (m, gamma) => Math.min(m, gamma) - Math.min(m, gamma) ** 2 / (2 * gamma),
    (m, gamma) => Math.max(1 - m / gamma, 0),
  ],
  exponential: [(m, s) => -Math.expm1(-m / s), (m, s) => Math.exp(-m / s) / s],
};

/** r and r′ of the penalty called `name`, normalised to r(0) = 0 and r(1) = 1. */
export function regularizer(name, shape) {
  const [raw, slope] = RAW[name], scale = 1 / raw(1, shape);
  return { value: (m) => raw(m, shape) * scale, gradient: (m) => slope(m, shape) * scale };
}

/**
 * What a mask penalty r with weight decay on θ charges a weight w = mθ that is split as cheaply as possible,
 * min over m in (0, 1] of λ r(m) + (µ/2)(w/m)². In units of λ it depends on u = w √(µ/λ) alone.
 * Returns that price and the m that pays it.
 */
export function induced({ value }, u) {
  if (u === 0) return { price: 0, m: 0 };
  const price = (log) => value(Math.exp(log)) + u ** 2 / (2 * Math.exp(2 * log)); // on a log scale all is smooth
  const points = 240, low = Math.log(1e-5);
  let best = 0;
  for (let k = 1; k <= points; k++) if (price(low - (low * k) / points) < price(low - (low * best) / points)) best = k;
  let a = low - (low * Math.max(best - 1, 0)) / points, b = low - (low * Math.min(best + 1, points)) / points;
  while (b - a > 1e-9) {
    const third = (b - a) / 3;
    if (price(a + third) < price(b - third)) b -= third;
    else a += third;
  }
  const log = price(b) <= price((a + b) / 2) ? b : (a + b) / 2; // the box's edge is a minimum too
  return { price: price(log), m: Math.exp(log) };
}
