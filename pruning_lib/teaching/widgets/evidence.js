// What pairs of seeds say of two accuracies: CMP-2, as `difference` in pruning_lib/comparison/statistics.py.

const meanOf = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean difference `one` − `other` and its interval, over the seeds that both have; null for fewer than two of them. */
export function paired(one, other, student) {
  const gaps = Object.keys(one).filter((seed) => seed in other).map((seed) => one[seed] - other[seed]);
  if (gaps.length < 2) return null;
  const mean = meanOf(gaps);
  const sd = Math.sqrt(gaps.reduce((sum, gap) => sum + (gap - mean) ** 2, 0) / (gaps.length - 1));
  const half = (student[gaps.length] * sd) / Math.sqrt(gaps.length);
  return { mean, low: mean - half, high: mean + half };
}

/** Whether the pairs leave open that `one` is no less accurate than `other`; too few pairs leave everything open. */
export const mayMatch = (difference) => difference === null || difference.high >= 0;

/** Accuracy in words. */
export const spreadOf = ([mean, sd, n]) => `${mean.toFixed(2)} ± ${sd.toFixed(2)} % over ${n} seeds`;
