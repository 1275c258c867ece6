/**
 * "Try it": sends a request and shows what came back.
 *
 * In: a request (model.js), a place to show it. Out: status, headers and body there; text only. What can go
 * wrong is shown there too. A stream is shown as it comes, until `stop()` or MOST octets.
 */
import { session } from "../api.js";
import { fill, h, notice } from "../dom.js";
import { bytes } from "../format.js";

/** Octets of a body that are shown. */
const MOST = 200_000;

export class Trial {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.control = null;
  }

  get running() {
    return this.control !== null;
  }

  stop() {
    this.control?.abort();
  }

  async send(request) {
    this.stop();
    const control = new AbortController();
    this.control = control;
    const begun = performance.now();
    fill(this.place, h("p", { class: "muted" }, "Asking …"));
    try {
      const headers = { ...request.headers };
      if (request.method !== "GET") headers["X-CSRF-Token"] = (await session().catch(() => ({}))).csrf ?? "";
      const answer = await fetch(request.address, { method: request.method, headers, body: request.body, signal: control.signal, credentials: "same-origin" });
      await this.show(answer, performance.now() - begun);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.place, notice("error", `No answer: ${error.message}`));
    } finally {
      if (this.control === control) this.control = null;
    }
  }

  async show(answer, took) {
    const type = answer.headers.get("Content-Type") ?? "";
    const kind = answer.ok ? "success" : answer.status < 500 ? "client" : "server";
    const size = h("span", { class: "muted" });
    const body = h("pre", { tabindex: "0", "aria-label": "Body" });
    const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    fill(
      this.place,
      h("div", { class: "row", role: "status" }, h("span", { class: `chip ${kind}` }, `${answer.status} ${answer.statusText}`), h("span", { class: "muted" }, `${Math.round(took)} ms to the first octet`), size),
      h("details", {}, h("summary", {}, "Headers"), h("pre", {}, headers)),
      body,
    );
    const text = await this.read(answer, body, size, isText(type));
    if (text !== null) body.textContent = type.includes("json") ? pretty(text) : text;
  }

  /** Read the body as it comes; returns its text, null where it is none. */
  async read(answer, body, size, shown) {
    const reader = answer.body?.getReader();
    if (!reader) return "";
    const decoder = new TextDecoder();
    let [count, text] = [0, ""];
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      count += value.length;
      size.textContent = bytes(count);
      if (!shown) continue;
      text += decoder.decode(value, { stream: true });
      if (text.length > MOST) {
        await reader.cancel();
        return `${text.slice(0, MOST)}\n… cut here`;
      }
      if (answer.headers.get("Content-Type")?.startsWith("text/event-stream")) body.textContent = text;
    }
    if (!shown) fill(body, `${bytes(count)}, not shown`);
    return shown ? text : null;
  }
}

function isText(type) {
  return /^text\/|json|xml|svg/.test(type);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
