// What all pages share: asking the server, events, announcements, and the library of charts.

export const page = document.body.dataset;
export const at = (id) => document.getElementById(id);
export const root = () => `/runs/${encodeURIComponent(page.run)}`;
export const trialName = (number) => String(number).padStart(4, "0");

export class Refused extends Error {}

export async function ask(path, options = {}) {
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  if (answer.status === 204) return null;
  if (answer.status === 401) throw new Refused("The server was started again. Open the address that it printed.");
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || answer.statusText);
  return body;
}

export function send(command) {
  return ask(`${root()}/commands`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(command),
  });
}

// ---- announcements

let announced = "";
export function announce(text) {
  if (!text || text === announced) return;
  announced = text;
  at("announce").textContent = text;
}

export function toast(text, kind = "") {
  const note = document.createElement("div");
  note.className = `toast ${kind}`;
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet";
  close.setAttribute("aria-label", "Close the message");
  close.textContent = "✕";
  close.addEventListener("click", () => note.remove());
  note.append(words, close);
  at("toasts").append(note);
  if (kind !== "bad") setTimeout(() => note.remove(), 12000);
}

// ---- parts of the page that the server draws

export function put(element, html) {
  if (element.innerHTML === html) return;
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  const scrolled = element.querySelector(".scroll")?.scrollLeft || 0;
  const opened = [...element.querySelectorAll("details[id]")].map((one) => [one.id, one.open]);
  element.innerHTML = html;
  for (const [id, open] of opened) if (at(id)) at(id).open = open;
  if (scrolled) element.querySelector(".scroll")?.scrollTo({ left: scrolled });
  if (focused) at(focused)?.focus({ preventScroll: true });
}

// ---- events

const STATES = { live: "live", off: "not connected", ended: "ended" };

export function follow(changed) {
  const mark = at("live");
  let source = null;
  const show = (state) => {
    mark.hidden = false;
    mark.dataset.state = state;
    at("live-text").textContent = STATES[state];
  };
  const open = () => {
    if (source || document.hidden) return;
    source = new EventSource(`${root()}/events`);
    source.addEventListener("open", () => show("live"));
    source.addEventListener("change", (event) => {
      const told = JSON.parse(event.data);
      if (told.problem) toast(told.problem, "bad");
      else changed(told.revision);
    });
    source.addEventListener("error", () => show("off"));
  };
  // A browser keeps only six connections to a host, so a hidden page gives up its own.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; } else open();
  });
  open();
}

// One call at a time; calls meanwhile are made up for by one more, after a rest.
export function calmly(work, rest = 700) {
  let busy = false, again = false;
  const run = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try { await work(); } catch (error) { failed(error); }
    await new Promise((done) => setTimeout(done, rest));
    busy = false;
    if (again) { again = false; run(); }
  };
  return run;
}

let told = "";
export function failed(error) {
  if (error instanceof TypeError) return; // the server does not answer: the mark above says so
  if (error.message !== told) toast(error.message, "bad");
  told = error.message;
}

// ---- the library of charts

let loading = null;
export function plotly() {
  loading ||= new Promise((done, wrong) => {
    const script = document.createElement("script");
    script.src = page.plotly;
    script.onload = () => done(window.Plotly);
    script.onerror = () => wrong(new Error("The library of charts could not be loaded."));
    document.head.append(script);
  });
  return loading;
}

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function onColours(draw) {
  document.addEventListener("colours", () => requestAnimationFrame(draw));
}
