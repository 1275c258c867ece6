/**
 * The difference of two texts, line by line.
 *
 * In: two lists of lines. Out: the lines of both in order, each "same", "gone" or "new". Nothing can go
 * wrong; where both are so long that the exact answer would take too long, all between what they have in
 * common at both ends counts as changed.
 *
 * @typedef {{kind: "same" | "gone" | "new", text: string}} Change
 */

/** Cells of the table of longest common subsequences, at most: some milliseconds. */
const MOST = 1_000_000;

/** @param {string[]} before @param {string[]} after @returns {Change[]} */
export function diffLines(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  const most = Math.min(before.length, after.length) - start;
  while (end < most && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const same = (/** @type {string} */ text) => /** @type {Change} */ ({ kind: "same", text });
  return [
    ...before.slice(0, start).map(same),
    ...middle(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...before.slice(before.length - end).map(same),
  ];
}

/** @param {string[]} before @param {string[]} after @returns {Change[]} */
function middle(before, after) {
  const gone = (/** @type {string} */ text) => /** @type {Change} */ ({ kind: "gone", text });
  const added = (/** @type {string} */ text) => /** @type {Change} */ ({ kind: "new", text });
  if (before.length * after.length > MOST) return [...before.map(gone), ...after.map(added)];
  const lengths = commonLengths(before, after);
  const width = after.length + 1;
  /** @type {Change[]} */
  const changes = [];
  let i = 0;
  let j = 0;
  while (i < before.length && j < after.length) {
    if (before[i] === after[j]) {
      changes.push({ kind: "same", text: before[i] });
      i += 1;
      j += 1;
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) {
      changes.push(gone(before[i++]));
    } else {
      changes.push(added(after[j++]));
    }
  }
  return [...changes, ...before.slice(i).map(gone), ...after.slice(j).map(added)];
}

/** Lengths of the longest common subsequences of all tails, row by row. */
function commonLengths(/** @type {string[]} */ before, /** @type {string[]} */ after) {
  const width = after.length + 1;
  const lengths = new Uint16Array((before.length + 1) * width);
  for (let i = before.length - 1; i >= 0; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] =
        before[i] === after[j]
          ? lengths[(i + 1) * width + j + 1] + 1
          : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
    }
  }
  return lengths;
}
