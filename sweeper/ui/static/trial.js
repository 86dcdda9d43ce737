// The page of a trial.
import { announce, ask, at, calmly, failed, follow, onColours, page, put, root } from "./base.js";
import { drawDepth } from "./charts.js";
import { askFor, onAnswered } from "./commands.js";
import { CurvesCard } from "./curves.js";
import { text } from "./parallel.js";

const number = Number(page.number), here = `${root()}/trials/${number}`;
const curves = new CurvesCard(page.metric, { single: true });
let seen = "", stamp = 0;

const show = () => curves.show([[number, String(stamp)]]).catch(failed);

function commands() {
  for (const button of document.querySelectorAll("[data-command]")) {
    button.hidden = Boolean(button.dataset.when) && !button.dataset.when.split(" ").includes(document.body.dataset.state);
  }
}

const update = calmly(async () => {
  const found = await ask(`${here}/live?${new URLSearchParams(seen ? { seen } : {})}`);
  if (!found) return;
  seen = String(found.revision);
  const before = `${document.body.dataset.state} ${page.step}`;
  document.body.dataset.state = found.state;
  page.step = String(found.step);
  put(at("head"), found.head);
  put(at("trial"), found.trial);
  announce(at("headline").textContent);
  commands();
  if (before !== `${found.state} ${page.step}`) {
    stamp += 1;
    await show();
    profiles();
  }
});

// ---- the depth profile

let depth = null, newest = true;
const slider = at("depth-step");

async function drawProfile() {
  if (!depth) return;
  await drawDepth(at("depth"), depth, Number(slider.value));
  const now = depth.profiles[Number(slider.value)];
  if (!now) return;
  const reach = now.reach === null ? "" : `, reach ${text(now.reach)}`;
  at("depth-value").textContent = `${now.step}${reach}`;
  slider.setAttribute("aria-valuetext", `step ${now.step}${reach}`);
}

const profiles = calmly(async () => {
  depth = await ask(`${root()}/data/depth/${number}`);
  const count = depth.profiles.length;
  at("depth-tools").hidden = count < 2;
  slider.max = Math.max(0, count - 1);
  if (newest) slider.value = slider.max;
  if (count) at("depth-which").textContent = `The root-mean-square gradient of ${depth.layers.length} layers, the input at the top. ${count < depth.observations ? `${count} of ` : ""}${depth.observations} observations.`;
  await drawProfile();
}, 2000);
slider.addEventListener("input", () => { newest = slider.value === slider.max; drawProfile().catch(failed); });
onColours(() => drawProfile());

// ---- the output

const output = at("output");
const LONGEST = 400000;
let end = null, attempt = 0, done = false;

async function read() {
  if (document.hidden) return;
  const found = await ask(`${root()}/data/output/${number}${end === null ? "" : `?after=${end}`}`);
  if (found.attempt !== attempt) {
    output.textContent = "";
    if (end !== null) { end = null; attempt = found.attempt; return; }
    attempt = found.attempt;
  }
  if (end === null && found.begin > 0) output.textContent = "…\n";
  if (found.text) {
    const rest = output.textContent.length > LONGEST ? output.textContent.slice(-LONGEST / 2) : null;
    if (rest !== null) output.textContent = rest;
    output.append(found.text);
    if (at("follow").checked) output.scrollTop = output.scrollHeight;
  }
  end = found.end;
  done = !found.running && found.end >= found.size;
  output.classList.toggle("nothing", !output.textContent);
  if (!output.textContent) output.dataset.empty = found.attempt ? "The trial has printed nothing." : "The trial has not started.";
}

async function listen() {
  try { await read(); } catch (error) { failed(error); }
  setTimeout(listen, done ? 5000 : 1000);
}

// ---- commands

document.addEventListener("click", (event) => {
  const { command } = event.target.closest("button")?.dataset ?? {};
  if (command) askFor(command, [number]);
});
onAnswered(() => setTimeout(update, 300));
at("compare-with").addEventListener("submit", (event) => {
  event.preventDefault();
  location.assign(`${root()}/compare/${number}/${Number(at("other").value)}`);
});

commands();
show();
profiles();
listen();
follow(() => update());
