/**
 * Text from the wire made visible: what would hide or turn round other text is written as an escape.
 *
 * In: any text of a message. Out: text in which controls, invisible characters and those that change the
 * direction of writing stand as \x1b or \u202e, so that what is read is what was sent. Nothing can go wrong.
 * It is shown through textContent alone: this is about eyes, not about markup. dom.js does the least of it
 * (`upright`) to every text and every attribute that people read.
 */

// What turns round or hides the text after it, and controls other than tab and line ends.
const TURNING = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g;

// Controls but tab, C1, soft hyphen, zero-width and direction characters, separators, surrogates, private use, tags.
const HIDDEN =
  /[\u0000-\u0008\u000a-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ud800-\udfff\ue000-\uf8ff]|\u{1d173}|[\u{e0000}-\u{e0fff}]/gu;
// At most two marks on one letter; more are piled up only to cover the lines above.
const PILED = /(\p{M}{2})\p{M}+/gu;

/**
 * @param {string | null | undefined} text
 * @param {number} [longest] characters after which it is cut with an ellipsis
 * @returns {string}
 */
export function safe(text, longest = Infinity) {
  if (!text) return "";
  const cut = text.length > longest ? `${text.slice(0, longest - 1)}…` : text;
  if (/^[\x20-\x7e]*$/.test(cut)) return cut;
  return cut.replace(HIDDEN, escape).replace(PILED, "$1");
}

/**
 * The text without what turns other text round; line ends and tabs stay.
 * @param {string} text
 */
export function upright(text) {
  return text.replace(TURNING, escape);
}

/** @param {string} character */
function escape(character) {
  const code = character.codePointAt(0) ?? 0;
  if (code <= 0xff) return `\\x${code.toString(16).padStart(2, "0")}`;
  return `\\u${code.toString(16).padStart(4, "0")}`;
}
