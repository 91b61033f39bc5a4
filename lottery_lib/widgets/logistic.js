// Sparse logistic regression by lottery_lib/experiments/logistic.py's two families of steps, in double precision, without a page.
import { regularizer } from "./regularizers.js";

/** Pixels of bytes (images × d), training images first, become centred images and labels for training and testing. */
export function problem(pixels, labels, train) {
  const d = pixels.length / labels.length, x = Float64Array.from(pixels, (byte) => byte / 255);
  const centre = new Float64Array(d);
  for (let k = 0; k < train * d; k++) centre[k % d] += x[k] / train;
  for (let k = 0; k < x.length; k++) x[k] -= centre[k % d];
  return {
    d,
    train: { x: x.subarray(0, train * d), y: labels.subarray(0, train) },
    test: { x: x.subarray(train * d), y: labels.subarray(train) },
  };
}

/** ⟨image, w⟩ for the image in this row. */
function logit(x, row, w) {
  let sum = 0;
  for (let i = 0, at = row * w.length; i < w.length; i++, at++) sum += x[at] * w[i];
  return sum;
}

/** The share of test images that w puts on the right side. */
export function accuracy({ test: { x, y } }, w) {
  let right = 0;
  for (let row = 0; row < y.length; row++) right += logit(x, row, w) > 0 === y[row] > 0;
  return right / y.length;
}

/**
 * A method at its start, m = 1 and w = θ = `start`. `settings` are the fields of LogisticConfig with `penalty` ("l1" or
 * "log"), `variable` ("mask": projected gradient on (θ, m); "weights": subgradient on w) and `lipschitz`, ‖∇²L‖.
 */
export function init(problem, start, settings) {
  const state = {
    t: 0, flips: 0, loss: 0, settings, r: regularizer(settings.penalty, settings.eps),
    w: start.slice(), theta: start.slice(), m: new Float64Array(problem.d).fill(1),
    gradient: new Float64Array(problem.d),
  };
  evaluate(problem, state);
  return state;
}

/** One iteration, in place. */
export function step(problem, state) {
  const { w, theta, m, gradient, r, settings: { variable, lam, weight_decay, lipschitz, ...sizes } } = state;
  const eta = sizes.step / lipschitz, maskEta = sizes.mask_step / lipschitz;
  state.flips = 0;
  for (let i = 0; i < w.length; i++) {
    const g = gradient[i], before = w[i];
    if (variable === "mask") {
      const pull = theta[i] * g + lam * r.gradient(m[i]);
      theta[i] -= eta * (m[i] * g + weight_decay * theta[i]);
      m[i] = Math.min(Math.max(m[i] - maskEta * pull, 0), 1);
      w[i] = m[i] * theta[i];
    } else {
      w[i] -= eta * (g + lam * r.gradient(Math.abs(before)) * Math.sign(before));
    }
    state.flips += w[i] * before < 0;
  }
  state.t += 1;
  evaluate(problem, state);
}

/** The mean logistic loss at w, and its gradient. */
function evaluate({ train: { x, y } }, state) {
  const { w, gradient } = state;
  state.loss = 0;
  gradient.fill(0);
  for (let row = 0; row < y.length; row++) {
    const z = logit(x, row, w), error = (1 / (1 + Math.exp(-z)) - y[row]) / y.length;
    state.loss += (Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z))) - y[row] * z) / y.length;
    for (let i = 0, at = row * w.length; i < w.length; i++, at++) gradient[i] += error * x[at];
  }
}

/** What is penalised, and thresholded at α: the mask, or the weights' absolute values. */
export const magnitudes = ({ m, w, settings }) => (settings.variable === "mask" ? m : w.map(Math.abs));

/** Loss and penalty together, which the method minimises. */
export function objective(state) {
  const { lam, variable, weight_decay } = state.settings;
  const decay = variable === "mask" ? (weight_decay / 2) * state.theta.reduce((sum, value) => sum + value ** 2, 0) : 0;
  return state.loss + lam * magnitudes(state).reduce((sum, value) => sum + state.r.value(value), 0) + decay;
}

/** The numbers on show: shares and accuracies in [0, 1]. A ticket keeps the weights of magnitude ≥ α. */
export function summary(problem, state, alpha) {
  const size = magnitudes(state), ticket = state.w.map((w, i) => (size[i] >= alpha ? w : 0));
  const share = (holds) => size.reduce((count, value) => count + holds(value), 0) / size.length;
  return {
    loss: state.loss, objective: objective(state), flips: state.flips,
    density: share((value) => value >= alpha), zeros: share((value) => value === 0),
    accuracy: accuracy(problem, state.w), ticket: accuracy(problem, ticket),
  };
}
