/**
 * The picture's model: the API's answer, and what of it is shown under a View.
 *
 * In: the answer of GET /api/call. Out: `Call`, and for a View the shown messages and hosts. Nothing can go
 * wrong. Messages, hosts and legs are referred to by their numbers in the answer, from 0.
 *
 * @typedef {import("./view.js").View} View
 *
 * @typedef {object} Media
 * @property {string} kind
 * @property {number} port
 * @property {string} protocol
 * @property {string[]} codecs
 * @property {string | null} address
 * @property {string} direction
 *
 * @typedef {object} Message one arrow, see docs/flow.md
 * @property {number} index
 * @property {number} ts
 * @property {number} delta
 * @property {number} elapsed
 * @property {number} src
 * @property {number} dst
 * @property {string} src_text
 * @property {string} dst_text
 * @property {string | null} transport
 * @property {number} call
 * @property {string | null} method
 * @property {number | null} status
 * @property {string} label
 * @property {string} outcome
 * @property {{origin: string | null, media: Media[]} | null} sdp
 * @property {number} transaction
 * @property {number} retransmission
 * @property {number | null} retransmission_of
 * @property {number | null} copy_of
 * @property {number | null} forward_of
 * @property {number | null} dialog
 * @property {string | null} malformed
 * @property {number | null} sdp_words
 * @property {number} octets
 * @property {string | null} payload
 *
 * @typedef {object} Finding
 * @property {string} rule
 * @property {"error" | "warning" | "note"} severity
 * @property {string} title
 * @property {string} detail
 * @property {number[]} arrows
 * @property {number | null} call
 *
 * @typedef {object} Shown
 * @property {Message[]} messages in order
 * @property {number[]} hosts from left to right
 * @property {number} hidden messages that are not shown
 * @property {"transaction" | "call"} color
 */

/** @param {Message} message whether it adds nothing new: a retransmission or a copy */
export function isFaint(message) {
  return message.retransmission > 0 || message.copy_of !== null;
}

/** @param {Message} message the name by which methods are hidden: a response has its request's */
export function methodOf(message) {
  return message.method ?? "(not SIP)";
}

/** `A`, `B` ... `Z`, `A1` ... for legs. @param {number} index */
export function letter(index) {
  return String.fromCharCode(65 + (index % 26)) + (index >= 26 ? Math.floor(index / 26) : "");
}

/** What is shown under a view. @param {any} answer @param {View} view @returns {Shown} */
export function shownOf(answer, view) {
  const { hosts, messages, calls } = answer.ladder;
  const away = new Set(hosts.flatMap((host, i) => (view.hosts.has(host.name) ? [i] : [])));
  const shown = messages.filter(
    (message) =>
      !away.has(message.src) &&
      !away.has(message.dst) &&
      !view.methods.has(methodOf(message)) &&
      !(view.once && isFaint(message)),
  );
  const order = view.appearance ? appearance(messages, hosts.length) : hosts.map((_, i) => i);
  return {
    messages: shown,
    hosts: order.filter((i) => !away.has(i)),
    hidden: messages.length - shown.length,
    color: view.color || (calls.length > 1 ? "call" : "transaction"),
  };
}

/** Hosts in the order in which messages name them. @param {Message[]} messages @param {number} count */
function appearance(messages, count) {
  const seen = new Set(messages.flatMap((message) => [message.src, message.dst]));
  for (let i = 0; i < count; i += 1) seen.add(i);
  return [...seen];
}

/** Methods of the picture with their numbers of messages, the most frequent first. @param {Message[]} messages */
export function methodCounts(messages) {
  const counts = new Map();
  for (const message of messages) counts.set(methodOf(message), (counts.get(methodOf(message)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/**
 * The message that another is compared with: the last before it of the same call that went the same way and is
 * of the same kind (method, or method and status); else the one before it.
 * @param {Message[]} messages all @param {Message} message @returns {{other: Message, alike: boolean} | null}
 */
export function comparedWith(messages, message) {
  for (let i = message.index - 1; i >= 0; i -= 1) {
    const other = messages[i];
    if (
      other.call === message.call && other.src === message.src && other.dst === message.dst &&
      other.method === message.method && other.status === message.status
    ) {
      return { other, alike: true };
    }
  }
  return message.index > 0 ? { other: messages[message.index - 1], alike: false } : null;
}

/** The marks in words, as `notes` of hepcat.search.ladder. @param {Message} message */
export function notesOf(message) {
  const notes = [];
  if (message.retransmission) notes.push(`retransmission ${message.retransmission}`);
  if (message.copy_of !== null) notes.push(`copy of #${message.copy_of + 1}`);
  if (message.forward_of !== null) notes.push(`same octets as #${message.forward_of + 1}`);
  if (message.dialog !== null) notes.push(`branch ${message.dialog}`);
  if (message.malformed) notes.push(`malformed: ${message.malformed}`);
  return notes;
}

/** One text a media stream; none where the same description was shown just before. @param {Message} message */
export function mediaOf(message, most = 3) {
  if (!message.sdp || isFaint(message) || message.forward_of !== null) return [];
  const media = message.sdp.media;
  const lone = media.length === 1 && media[0].kind === "audio";
  const lines = media.slice(0, most).map((one) => (lone ? mediaText(one) : `${one.kind} ${mediaText(one)}`));
  if (media.length > most) lines.push(`and ${media.length - most} more streams`);
  return lines;
}

/** @param {Media} media */
function mediaText(media) {
  const codecs = media.codecs.join(" ");
  if (media.port === 0) return `${codecs} refused`.trim();
  const address = media.address?.includes(":") ? `[${media.address}]` : (media.address ?? "");
  const hold = ["sendonly", "inactive"].includes(media.direction) || ["0.0.0.0", "::"].includes(media.address ?? "");
  return [codecs, `${address}:${media.port}`, media.direction, hold ? "(hold)" : ""].filter(Boolean).join(" ");
}

/** `INVITE (SDP)`. @param {Message} message */
export function labelOf(message) {
  return message.sdp ? `${message.label} (SDP)` : message.label;
}
