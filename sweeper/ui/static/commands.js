// Commands to the run: a dialog asks who wants it and why, and the answer is shown.
import { announce, ask, at, failed, page, root, send, toast, trialName } from "./base.js";

const WORDS = {
  stop: ["Stop", "ends for good. It saves a checkpoint first; it can be revived later."],
  pause: ["Pause", "saves a checkpoint and gives up its slot until it is resumed."],
  resume: ["Resume", "continues from its checkpoint as soon as a slot is free."],
  revive: ["Revive", "continues from its checkpoint, and no rule stops it."],
  exempt: ["Exempt", "is stopped by no rule from now on. If it was stopped, it continues."],
  derive: ["Derive from", "stays as it is. A new trial continues from its checkpoint with these values; a blank field keeps the value."],
  first: ["Start first", "starts before all other waiting trials."],
};
const SWEEP = {
  stop: ["Stop the sweep", "Running trials save a checkpoint and end, as after Ctrl-C. `sweeper run` resumes the sweep later."],
  pause: ["Pause the sweep", "Running trials save a checkpoint and give up their slots until the sweep is resumed."],
  resume: ["Resume the sweep", "Paused trials continue, and waiting trials start."],
  add: ["Add a configuration", "The sweep runs a trial with these values. A blank field is a mistake."],
};

let asked = null;

const START = -1;

export function askFor(command, numbers = [], params = []) {
  if (command === "derive") return ask(`${root()}/data/checkpoints/${numbers[0]}`).then((known) => derive(known)).catch(failed);
  show(command, numbers, params.map((name) => field(name)));
  return null;
}

// A trial is derived from a checkpoint: the newest at which nothing failed, unless another one is chosen.
function derive(known) {
  const options = known.checkpoints.map(({ step, failing }) => {
    const after = failing.length ? `: ${failing.join(", ").replaceAll("_", " ")} held` : step === known.newest_healthy ? " (newest healthy)" : "";
    return new Option(`step ${step.toLocaleString("en")}${after}`, step, false, step === known.newest_healthy);
  });
  const none = known.newest_healthy === null;
  options.push(new Option("the start, without a checkpoint", START, false, none));
  const words = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  show("derive", [known.number], Object.entries(known.params).map(([name, value]) => field(name, words(value))));
  at("command-at").replaceChildren(...options);
  at("command-fresh").checked = false;
}

function show(command, numbers, fields) {
  const [title, what] = numbers.length ? WORDS[command] : SWEEP[command];
  const names = numbers.length > 6 ? `${numbers.length} trials` : numbers.map(trialName).join(", ");
  asked = { command, numbers };
  at("command-head").textContent = numbers.length ? `${title} ${names}?` : `${title}?`;
  at("command-what").textContent = numbers.length ? `${numbers.length > 1 ? "Each trial" : "The trial"} ${what}` : what.replaceAll("`", "");
  at("command-go").textContent = title.replace(/ from$/, "");
  at("command-go").classList.toggle("danger", command === "stop");
  at("command-error").textContent = "";
  at("command-because").value = "";
  if (!at("command-by").value) at("command-by").value = stored() || page.by || "";
  at("command-from").hidden = command !== "derive";
  at("command-params").replaceChildren(...fields);
  at("command").showModal();
  (at("command-params").querySelector("input") || at("command-because")).focus();
}

// A field of a parameter; with the value that it has now, the field may stay blank.
function field(name, now = null) {
  const label = document.createElement("label"), input = document.createElement("input");
  label.textContent = `${name} `;
  input.dataset.param = name;
  input.autocomplete = "off";
  input.required = now === null;
  if (now !== null) input.placeholder = now;
  label.append(input);
  return label;
}

const stored = () => { try { return localStorage.getItem("sweeper-by"); } catch { return ""; } };

export function onAnswered(done) {
  at("command-cancel").addEventListener("click", () => at("command").close());
  at("command-params").addEventListener("input", () => { at("command-error").textContent = ""; });
  at("command-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = at("command-go"), by = at("command-by").value.trim();
    const command = { ...asked, by, because: at("command-because").value.trim() };
    const inputs = [...at("command-params").querySelectorAll("input")];
    const filled = inputs.filter((input) => input.required || input.value.trim());
    if (inputs.length) command.params = Object.fromEntries(filled.map((input) => [input.dataset.param, input.value.trim()]));
    if (asked.command === "derive") Object.assign(command, { at: Number(at("command-at").value), fresh_optimizer: at("command-fresh").checked });
    button.disabled = true;
    at("command-error").textContent = "";
    try {
      const sent = await send(command);
      try { localStorage.setItem("sweeper-by", by); } catch { /* private windows keep nothing */ }
      at("command").close();
      const what = sent.numbers.length ? ` for ${sent.numbers.map(trialName).join(", ")}` : "";
      toast(`${sent.command}${what}: ${sent.text}`, "good");
      for (const warning of sent.warnings) toast(warning, "warn");
      announce(`${sent.command} was sent.`);
      done(sent);
    } catch (error) {
      at("command-error").textContent = error.message;
    } finally {
      button.disabled = false;
    }
  });
}
