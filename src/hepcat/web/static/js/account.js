/**
 * One's own account: API tokens (make, list, revoke) and the password.
 *
 * In: GET /api/session, /api/tokens. Out: what is changed there. Who has no account of their own here (OpenID
 * Connect, or no accounts at all) is told so. A token's secret is shown once, and kept nowhere.
 */
import { del, get, login, post, session } from "./api.js";
import { $, dialog, fill, h, notice, say } from "./dom.js";
import { shell } from "./shell.js";
import { day, now, onZone } from "./time.js";

const WITHOUT = {
  open: "There are no accounts: everybody on this machine may see and switch everything. `hepcat user add NAME --role admin` makes the first one.",
  oidc: "You came by single sign-on: your password and your role are the provider's matter. API tokens are made for accounts of hepcat's own: `hepcat token add`.",
};
let shown = [];

shell("account").then((known) => (known ? begin(known) : fill($("#told"), notice("error", "The server cannot be asked just now. Reload the page to try again."))));
onZone(() => list());
$("#new").addEventListener("submit", (event) => (event.preventDefault(), make(event.target)));
$("#change").addEventListener("submit", (event) => (event.preventDefault(), change(event.target)));

async function begin(known) {
  if (!known.user) return login();
  const how = { open: "without accounts", oidc: "by single sign-on", session: "with a password", token: "with a token" }[known.via];
  fill($("#who"), h("strong", {}, known.user), h("span", { class: "chip" }, known.role === "admin" ? "administrator" : "viewer"), h("span", { class: "muted" }, how));
  if (known.via !== "session") return void fill($("#told"), notice("note", WITHOUT[known.via] ?? ""));
  const roles = known.role === "admin" ? ["viewer", "admin"] : ["viewer"];
  fill($("#new").elements.role, roles.map((role) => h("option", { value: role }, role)));
  $("#change").elements.user.value = known.user;
  await read(); // it also says how many days a token is good for: no form is shown that cannot be sent yet
  for (const id of ["#tokens", "#password"]) $(id).hidden = false;
}

async function read() {
  try {
    const answer = await get("/api/tokens");
    shown = answer.tokens;
    const days = $("#new").elements.days;
    if (!days.value) days.value = String(Math.max(1, Math.round(answer.days)));
    list();
  } catch (problem) {
    failed($("#secret"), problem);
  }
}

function list() {
  if (!shown.length) return void fill($("#list"), h("p", { class: "muted" }, "No tokens."));
  const head = ["What it is for", "Role", "Made", "Last used", "Good until", ""];
  fill(
    $("#list"),
    h("table", {}, h("thead", {}, h("tr", {}, head.map((words) => (words ? h("th", { scope: "col" }, words) : h("td", {}))))), h("tbody", {}, shown.map(row))),
  );
}

function row(token) {
  const ended = token.expires <= now();
  return h(
    "tr",
    { class: ended ? "ended" : "" },
    h("td", { class: "name" }, token.name),
    h("td", {}, token.role),
    h("td", { class: "date" }, day(token.created)),
    h("td", { class: "date" }, token.used === null ? "never" : day(token.used)),
    h("td", { class: "date" }, ended ? `ended ${day(token.expires)}` : day(token.expires)),
    h("td", { class: "act" }, h("button", { class: "danger", type: "button", "aria-label": `Revoke ${token.name}`, onclick: () => revoke(token) }, "Revoke")),
  );
}

async function make(form) {
  const { name, days, role } = form.elements;
  try {
    const made = await post("/api/tokens", { name: name.value, days: Number(days.value), role: role.value });
    const copy = h("button", { type: "button", onclick: () => copied(copy, made.secret) }, "Copy");
    fill($("#secret"), notice("warning", h("p", {}, `The token ${made.token.name}. Copy it now: it is never shown again.`), h("div", { class: "secret" }, h("code", {}, made.secret), copy)));
    name.value = "";
    await read();
  } catch (problem) {
    failed($("#secret"), problem);
  }
}

async function copied(button, text) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    say("Copied");
  } catch {
    /* without TLS browsers give no clipboard: the text is there to be marked */
    getSelection().selectAllChildren(button.previousElementSibling);
  }
}

function revoke(token) {
  const act = async () => {
    box.close();
    try {
      await del(`/api/tokens/${token.id}`);
      fill($("#secret"));
      say(`${token.name} is revoked`);
    } catch (problem) {
      failed($("#secret"), problem);
    }
    await read();
  };
  const box = dialog(
    "Revoke the token?",
    h("p", {}, `Whatever uses ${token.name} is refused from now on.`),
    h("footer", {}, h("button", { type: "button", onclick: () => box.close() }, "Keep it"), h("button", { class: "danger", type: "button", onclick: act }, "Revoke")),
  );
}

async function change(form) {
  const { old, again } = form.elements;
  const fresh = form.elements.new;
  if (fresh.value !== again.value) {
    fill($("#changed"), notice("error", "The two new passwords are not the same."));
    return again.focus();
  }
  try {
    await post("/api/session/password", { old: old.value, new: fresh.value });
    form.reset();
    fill($("#secret"));
    fill($("#changed"), notice("note", "The password is changed. Your other sessions and your tokens have ended."));
    $("#change").elements.user.value = (await session(true)).user;
    await read();
  } catch (problem) {
    failed($("#changed"), problem);
  }
}

function failed(where, problem) {
  fill(where, notice("error", h("p", {}, problem.message), problem.hint ? h("p", { class: "small" }, problem.hint) : null));
}
