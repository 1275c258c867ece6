/**
 * The login page.
 *
 * In: ?next= (a path of ours to return to), ?was= (how the page that leads here was let in before), ?problem= (why a login by OpenID Connect came to nothing). Out: a
 * session's cookie, set by the server, and the way back. What can go wrong is said above the form, in words
 * that do not tell whether there is such a user.
 */
import { post, session, url } from "./api.js";
import { $, fill, h, notice } from "./dom.js";
import { shell } from "./shell.js";

const PROBLEMS = {
  away: "The provider could not be asked. Try again in a moment; the log of the server says more.",
  state: "The login took too long, or was begun in another window. Try again.",
  refused: "The provider did not let you in.",
  token: "The provider's answer could not be verified. The log of the server says more.",
  role: "The provider knows you, but you have no role here. An administrator decides who has: [web.oidc] admins and viewers.",
  busy: "Too many people log in just now. Try again in some seconds.",
};

/** What became of how a page was let in. */
const WAS = {
  open: ["This server has accounts now: somebody made the first one.", "Log in to go on where you were. Who has no account asks an administrator for one."],
  session: ["Your session ended: its time was over, or it was ended elsewhere, or your account was changed.", "Log in to go on where you were."],
};

const given = new URLSearchParams(location.search);
const goal = ownPath(given.get("next"));
const form = $("#form");
const told = $("#told");
let counting = 0;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  logIn();
});
shell("login").then((known) => {
  if (known) return offer(known);
  form.hidden = true;
  tell("error", "The server cannot be asked just now.", "Reload the page to try again.");
});
if (Object.hasOwn(WAS, given.get("was") ?? "")) tell("note", ...WAS[given.get("was")]);
if (given.has("problem")) tell("error", Object.hasOwn(PROBLEMS, given.get("problem")) ? PROBLEMS[given.get("problem")] : "The login came to nothing.");

/** The path to return to if it is one of ours, else the search. */
function ownPath(text) {
  try {
    const there = new URL(text ?? "/", location.origin);
    if (there.origin === location.origin && there.pathname !== "/login") return there.pathname + there.search + there.hash;
  } catch {
    /* no address at all */
  }
  return "/";
}

/** Show the ways to log in that there are. */
function offer(known) {
  const elsewhere = [];
  if (known.open) {
    tell("note", "There are no accounts: nobody needs to log in on this machine.", "hepcat user add NAME --role admin makes the first one.");
    elsewhere.push(h("a", { class: "button primary", href: goal }, "Go on"));
  } else if (known.user) {
    tell("note", `You are logged in as ${known.user}.`);
    elsewhere.push(h("a", { class: "button primary", href: goal }, "Go on"));
  } else if (known.login.oidc) {
    const path = url("/auth/oidc/login", { next: goal });
    elsewhere.push(h("a", { class: known.login.password ? "button" : "button primary", href: path }, `Log in with ${known.login.oidc}`));
  }
  form.hidden = !known.login.password || Boolean(known.user);
  form.classList.remove("waiting");
  $("#or").hidden = form.hidden || elsewhere.length === 0;
  fill($("#elsewhere"), elsewhere);
  if (!form.hidden) form.elements.user.focus();
}

async function logIn() {
  const button = $("button[type=submit]", form);
  const { user, password } = form.elements;
  button.disabled = true;
  try {
    await post("/api/session", { user: user.value.trim(), password: password.value });
    location.replace(goal);
    return;
  } catch (problem) {
    if (problem.status === 429 && problem.retryAfter) return void wait(problem, button);
    if (problem.status === 401) tell("error", "The user name or the password is wrong.");
    else tell("error", problem.message, problem.hint);
  }
  button.disabled = false;
  password.value = "";
  password.focus();
}

/** Count the seconds down until the next attempt is allowed. */
function wait(problem, button) {
  let left = problem.retryAfter;
  const number = h("span", { class: "number", "aria-hidden": "true" }, String(left));
  tell("warning", h("span", {}, "Too many attempts. The next is possible in ", number, " s."), problem.hint);
  clearInterval(counting);
  counting = setInterval(() => {
    left -= 1;
    number.textContent = String(Math.max(left, 0));
    if (left > 0) return;
    clearInterval(counting);
    button.disabled = false;
    fill(told);
  }, 1000);
}

function tell(kind, message, hint = "") {
  fill(told, notice(kind, h("p", {}, message), hint ? h("p", { class: "small" }, hint) : null));
}
