/**
 * The keys of the call page.
 *
 * In: what each does. Out: nothing; they are in the map that `?` shows. Nothing can go wrong.
 */

import { keys } from "../keys.js";

/**
 * @param {{step: (by: number) => void, stepFinding: (by: number) => void, open: () => void, close: () => boolean,
 *   tab: (by: number) => void, copy: () => void, reload: () => void, ready: () => boolean}} actions
 */
export function listen(actions) {
  const when = actions.ready;
  keys("Call", [
    { keys: ["j", "ArrowDown"], words: "next message", when: (event) => when() && moves(event), run: () => actions.step(1) },
    { keys: ["k", "ArrowUp"], words: "message before", when: (event) => when() && moves(event), run: () => actions.step(-1) },
    { keys: ["Home"], words: "first message", when: (event) => when() && moves(event), run: () => actions.step(-1e9) },
    { keys: ["End"], words: "last message", when: (event) => when() && moves(event), run: () => actions.step(1e9) },
    { keys: ["Enter"], words: "open the message", when: (event) => when() && !acts(event.target), run: actions.open },
    { keys: ["Escape"], words: "close the message", when, run: () => actions.close() },
    { keys: ["n"], words: "next finding", when, run: () => actions.stepFinding(1) },
    { keys: ["p"], words: "finding before", when, run: () => actions.stepFinding(-1) },
    { keys: ["]"], words: "next view of the message", when, run: () => actions.tab(1) },
    { keys: ["["], words: "view of the message before", when, run: () => actions.tab(-1) },
    { keys: ["c"], words: "copy the message", when, run: () => actions.copy() },
    { keys: ["r"], words: "read the call again", run: actions.reload },
    { keys: ["/"], words: "back to the search", run: () => location.assign("/") },
  ]);
}

/** Whether arrows move in the ladder here: not where they scroll an open message. */
function moves(event) {
  const letter = event.key.length === 1;
  return letter || !event.target.closest("#panel .tab, .menu, [role=tablist]");
}

/** Whether Enter already means something here. */
function acts(target) {
  return target.closest("a, button, input, select, summary") !== null;
}
