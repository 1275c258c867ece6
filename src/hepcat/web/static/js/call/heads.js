/**
 * What stands over the picture: the calls in it, and what went wrong.
 *
 * In: the API's answer; what to do when somebody asks for a message or another set of calls. Out: elements.
 * Nothing can go wrong.
 */

import { h } from "../dom.js";
import { count, duration, outcome } from "../format.js";
import { icon } from "../icons.js";
import { letter } from "./model.js";
import { safe } from "../safe.js";

/** Severities in words, with the sign that goes with the colour. */
const SEVERITIES = {
  error: { word: "error", icon: "error" },
  warning: { word: "warning", icon: "warning" },
  note: { word: "note", icon: "info" },
};

/**
 * The calls, one line each.
 * @param {any} answer
 * @param {{only: (id: string) => void, without: (id: string) => void, copy: (text: string) => void}} actions
 * @returns {HTMLElement}
 */
export function drawLegs(answer, actions) {
  const legs = answer.ladder.calls;
  const rows = new Map(answer.calls.map((row) => [row.call_id, row]));
  const why = new Map(answer.related.map((one) => [one.call_id, one.why]));
  return h("ul", { class: "legs" }, legs.map((leg) => drawLeg(leg, rows.get(leg.call_id), why.get(leg.call_id), legs.length > 1, actions)));
}

function drawLeg(leg, row, why, several, actions) {
  const id = safe(leg.call_id) || "(no Call-ID)";
  const from = safe(row?.from || leg.caller || "?", 80);
  const to = safe(row?.to || leg.callee || "?", 80);
  const result = outcome({ state: leg.state, status: leg.status });
  const status = leg.status === null ? "" : safe(`${leg.status} ${leg.reason ?? ""}`.trim(), 80);
  return h(
    "li",
    { class: `leg c${leg.index % 6}` },
    several && h("span", { class: "letter", title: `Call ${letter(leg.index)}` }, letter(leg.index)),
    h("span", { class: "people" }, leg.method ? `${safe(leg.method, 30)} ` : "", h("b", {}, from), " → ", h("b", {}, to)),
    h("span", { class: `chip ${result.key}` }, result.sign, " ", [status, leg.state ?? ""].filter(Boolean).join(", ") || result.word),
    h("span", { class: "figures" }, figures(leg).map(([name, value]) => h("span", {}, h("span", { class: "muted" }, name), " ", value))),
    h("span", { class: "id" }, h("code", { title: id }, id),
      h("button", { class: "plain square small", type: "button", title: "Copy the Call-ID", "aria-label": `Copy the Call-ID ${id}`, onclick: () => actions.copy(leg.call_id) }, icon("copy")),
      several && h("button", { class: "plain small", type: "button", "aria-label": `Only call ${letter(leg.index)}`, onclick: () => actions.only(leg.call_id) }, "only"),
      several && h("button", { class: "plain small", type: "button", "aria-label": `Without call ${letter(leg.index)}`, onclick: () => actions.without(leg.call_id) }, "without")),
    why && h("span", { class: "why muted" }, `added: ${safe(why, 160)}`),
  );
}

/** The times and counts of a call that are known. */
function figures(leg) {
  const seconds = (us) => duration(us / 1e6);
  const times = [["post-dial delay", leg.post_dial_delay], ["ring", leg.ring_time], ["talk", leg.talk_time]];
  const known = times.filter(([, us]) => us !== null).map(([name, us]) => [name, seconds(us)]);
  known.push(["messages", String(leg.messages)]);
  if (leg.retransmissions) known.push(["retransmissions", String(leg.retransmissions)]);
  if (leg.copies) known.push(["copies", String(leg.copies)]);
  return known;
}

/**
 * What went wrong: a heading and a list, or the words that nothing was found.
 * @param {any} answer
 * @param {(finding: number, message: number) => void} open a finding's message
 * @returns {Node[]}
 */
export function drawFindings(answer, open) {
  const findings = answer.findings;
  const several = answer.ladder.calls.length > 1;
  if (!findings.length) {
    return [h("h2", { id: "findings-title" }, "What went wrong"), h("p", { class: "none" }, icon("check"), " No findings: none of the rules saw anything wrong in these messages.")];
  }
  const worst = ["error", "warning", "note"].map((kind) => [kind, findings.filter((one) => one.severity === kind).length]).filter(([, n]) => n);
  const told = worst.map(([kind, n]) => count(n, kind)).join(", ");
  return [
    h("h2", { id: "findings-title" }, "What went wrong ", h("span", { class: "muted small" }, told)),
    h("ol", {}, findings.map((finding, i) => drawFinding(finding, i, several, open))),
  ];
}

function drawFinding(finding, i, several, open) {
  const kind = SEVERITIES[finding.severity] ?? SEVERITIES.note;
  const [first, ...others] = finding.arrows;
  const leg = several && finding.call !== null ? ` (call ${letter(finding.call)})` : "";
  const text = [
    h("span", { class: `chip ${finding.severity}` }, icon(kind.icon), kind.word),
    h("span", { class: "text" }, h("b", {}, safe(finding.title, 200) + leg), " ", h("span", { class: "detail" }, safe(finding.detail, 600))),
    first !== undefined && h("span", { class: "at" }, `#${first + 1}`),
  ];
  return h(
    "li",
    { dataset: { finding: String(i) } },
    first === undefined ? h("div", { class: "finding" }, text)
      : h("button", { class: "finding plain", type: "button", "aria-label": `${kind.word}: ${safe(finding.title, 200)}${leg}. ${safe(finding.detail, 600)} Open message ${first + 1}.`, onclick: () => open(i, first) }, text),
    others.length > 0 && h("span", { class: "others" }, "also ", others.slice(0, 12).map((n) => h("button", { class: "plain small", type: "button", "aria-label": `Open message ${n + 1}`, onclick: () => open(i, n) }, `#${n + 1}`)), others.length > 12 && ` and ${others.length - 12} more`),
  );
}
