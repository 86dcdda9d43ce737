// The page of a sweep.
import { announce, ask, at, calmly, failed, follow, onColours, page, put, root, trialName } from "./base.js";
import { drawFront, drawSlots, lineOf } from "./charts.js";
import { askFor, onAnswered } from "./commands.js";
import { CurvesCard } from "./curves.js";
import { Parallel, text } from "./parallel.js";

const MOST_DRAWN = 10, MOST_CHOSEN = 20;
const AT_ONCE = 1000; // trials up to which the importance of parameters takes no more than a second
const KEYS = ["sort", "descending", "states", "flagged", "health", "text", "offset", "brush"];
const chosen = new Set();
const query = new URLSearchParams(location.search);
let seen = "", params = JSON.parse(page.params), brush = {};
try { brush = JSON.parse(query.get("brush") || "{}"); } catch { query.delete("brush"); }

const curves = new CurvesCard(page.metric);
const parallel = new Parallel(at("parallel"), (next) => setBrush(next));

// ---- the table

function asked() {
  const kept = new URLSearchParams();
  for (const key of KEYS) if (query.get(key)) kept.set(key, query.get(key));
  return kept;
}

async function update({ anew = false } = {}) {
  const wanted = asked();
  if (!anew && seen) wanted.set("seen", seen);
  at("table").setAttribute("aria-busy", "true");
  const found = await ask(`${root()}/live?${wanted}`).finally(() => at("table").setAttribute("aria-busy", "false"));
  if (!found) return;
  seen = String(found.revision);
  put(at("summary"), found.summary);
  put(at("table"), found.table);
  document.body.dataset.state = found.state;
  announce(at("headline").textContent);
  marked();
  await drawn();
}

const calm = calmly(() => update());

function rows() {
  return [...document.querySelectorAll("#table tbody tr")];
}

function drawnTrials() {
  const known = new Map(rows().map((row) => [Number(row.dataset.number), `${row.dataset.state} ${row.dataset.step}`]));
  if (chosen.size) return [...chosen].slice(0, MOST_CHOSEN).map((number) => [number, known.get(number) ?? `chosen ${seen}`]);
  return [...known].filter(([, stamp]) => !stamp.startsWith("WAITING -1")).slice(0, MOST_DRAWN);
}

async function drawn() {
  const trials = drawnTrials();
  await curves.show(trials);
  at("curves-which").textContent = chosen.size ? `The ${trials.length === 1 ? "chosen trial" : `${trials.length} chosen trials`}.`
    : trials.length ? `The first ${trials.length === 1 ? "row" : `${trials.length} rows`} of the table; tick rows to choose others.` : "";
  colourRows();
}

function colourRows() {
  for (const row of rows()) {
    const place = curves.places.get(Number(row.dataset.number)), cell = row.querySelector("td.pick");
    cell.style.boxShadow = place === undefined ? "" : `inset 4px 0 0 ${lineOf(place).colour}`;
  }
}

function marked() {
  for (const row of rows()) {
    const number = Number(row.dataset.number);
    row.querySelector("input").checked = chosen.has(number);
    row.classList.toggle("chosen", chosen.has(number));
  }
  const count = chosen.size, state = document.body.dataset.state;
  at("chosen").textContent = count ? `${count} chosen` : "";
  at("clear-chosen").hidden = !count;
  at("compare").disabled = count !== 2;
  for (const button of document.querySelectorAll("[data-command]")) {
    if (button.dataset.for === "trials") button.disabled = !count;
    if (button.dataset.for === "trial") button.disabled = count !== 1;
    if (button.dataset.when) button.hidden = !button.dataset.when.split(" ").includes(state);
  }
  for (const count_ of document.querySelectorAll("[data-filter]")) {
    count_.classList.toggle("on", query.get(count_.dataset.filter) === count_.dataset.value);
  }
  at("clear").hidden = !KEYS.slice(2, 6).concat("brush").some((key) => query.get(key));
}

function go(changes) {
  for (const [key, value] of Object.entries(changes)) if (value) query.set(key, value); else query.delete(key);
  if (!("offset" in changes)) query.delete("offset");
  const whole = new URLSearchParams(location.search);
  for (const key of KEYS) if (query.get(key)) whole.set(key, query.get(key)); else whole.delete(key);
  const tail = whole.toString();
  history.replaceState(null, "", tail ? `?${tail}` : location.pathname);
  return update({ anew: true }).catch(failed);
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("button, a");
  if (!target) return;
  const { sort, offset, filter, value, command } = target.dataset;
  if (sort) {
    const same = (query.get("sort") || "place") === sort;
    go({ sort: sort === "place" ? "" : sort, descending: same && !query.get("descending") ? "yes" : "" });
  } else if (offset !== undefined) go({ offset: offset === "0" ? "" : offset });
  else if (filter && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    const next = query.get(filter) === value ? "" : value;
    at(filter).value = next;
    go({ [filter]: next }).then(() => at("trials-head").scrollIntoView({ block: "nearest" }));
  } else if ("clear" in target.dataset) {
    for (const id of ["text", "states", "flagged", "health"]) at(id).value = "";
    brush = {};
    parallel.setBrush(brush);
    brushes();
    go({ states: "", flagged: "", health: "", text: "", brush: "" });
  } else if (command) {
    askFor(command, target.dataset.for === "sweep" ? [] : [...chosen], command === "add" ? params : []);
  }
});

let typing = 0;
at("filter").addEventListener("submit", (event) => event.preventDefault());
at("filter").addEventListener("input", (event) => {
  clearTimeout(typing);
  const { name, value } = event.target;
  typing = setTimeout(() => go({ [name]: value }), event.target.tagName === "SELECT" ? 0 : 250);
});
at("table").addEventListener("change", (event) => {
  const row = event.target.closest("tr");
  if (!row) return;
  const number = Number(row.dataset.number);
  if (event.target.checked) chosen.add(number); else chosen.delete(number);
  marked();
  drawn().catch(failed);
});
at("clear-chosen").addEventListener("click", () => { chosen.clear(); marked(); drawn().catch(failed); });
at("compare").addEventListener("click", () => {
  const [first, second] = [...chosen].sort((a, b) => a - b);
  location.assign(`${root()}/compare/${first}/${second}`);
});
onAnswered(() => { chosen.clear(); marked(); setTimeout(calm, 300); });

// ---- parameters together

function setBrush(next) {
  brush = next;
  parallel.setBrush(brush);
  brushes();
  go({ brush: Object.keys(brush).length ? JSON.stringify(brush) : "" });
}

function brushes() {
  const nameOf = (key) => (key === "value" ? page.metric : key.replace(/^param:/, ""));
  at("brushes").replaceChildren(...Object.entries(brush).map(([key, range]) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip on";
    const words = range.values ? range.values.join(", ") : `${text(range.low)} to ${text(range.high)}`;
    chip.textContent = `${nameOf(key)}: ${words} ✕`;
    chip.setAttribute("aria-label", `Remove the range of ${nameOf(key)}: ${words}`);
    chip.addEventListener("click", () => { const rest = { ...brush }; delete rest[key]; setBrush(rest); });
    return chip;
  }));
  if (parallel.data) fields();
}

function fields() {
  const form = at("ranges");
  if (form.contains(document.activeElement)) return;
  form.replaceChildren(...parallel.data.axes.map((axis) => {
    const group = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = axis.name;
    group.append(legend);
    const range = brush[axis.key];
    if (axis.words.length) {
      const menu = document.createElement("select");
      menu.multiple = true;
      menu.size = Math.min(4, axis.words.length);
      menu.setAttribute("aria-label", `values of ${axis.name}`);
      menu.append(...axis.words.map((word) => new Option(word, word, false, Boolean(range?.values?.includes(word)))));
      menu.addEventListener("change", () => {
        const values = [...menu.selectedOptions].map((option) => option.value), next = { ...brush };
        if (values.length) next[axis.key] = { values }; else delete next[axis.key];
        setBrush(next);
      });
      group.append(menu);
      return group;
    }
    const inputs = ["low", "high"].map((side) => {
      const input = document.createElement("input");
      input.type = "number";
      input.step = "any";
      input.placeholder = text(axis[side]);
      input.value = range ? range[side] : "";
      input.setAttribute("aria-label", `${side === "low" ? "lowest" : "highest"} ${axis.name}`);
      input.addEventListener("change", () => {
        const [low, high] = inputs.map((one, at_) => (one.value === "" ? [axis.low, axis.high][at_] : Number(one.value)));
        const next = { ...brush };
        if (inputs.every((one) => one.value === "")) delete next[axis.key]; else next[axis.key] = { low, high };
        setBrush(next);
      });
      return input;
    });
    group.append(inputs[0], " to ", inputs[1]);
    return group;
  }));
}

const caption = at("parallel-which").textContent;
function withoutValue({ axes, numbers }) {
  const last = axes.at(-1), count = last.key === "value" ? last.column.filter((value) => value === null).length : 0;
  if (!count) return "";
  const has = count === 1 ? "has no finite value" : "have no finite values", drawn_ = count === 1 ? "is" : "are";
  return ` ${count.toLocaleString("en")} of ${numbers.length.toLocaleString("en")} trials ${has} of ${last.name} so far and ${drawn_} drawn without.`;
}

const together = calmly(async () => {
  const data = await ask(`${root()}/data/parallel`);
  if (!data.axes.length || !data.numbers.length) {
    at("parallel-which").textContent = "The sweep has no trials with parameters yet.";
    return;
  }
  at("parallel-which").textContent = `${caption}${withoutValue(data)}`;
  parallel.brush = brush;
  parallel.show(data);
  params = data.axes.filter((axis) => axis.key !== "value").map((axis) => axis.name);
  brushes();
}, 10000);

// ---- slots and importance

let slots = null;
const openTrial = (number) => location.assign(`${root()}/trials/${number}`);
const timeline = calmly(async () => {
  slots = await ask(`${root()}/data/slots`);
  if (slots.left_out) at("slots-which").textContent = `The newest ${slots.spans.length.toLocaleString("en")} attempts; ${slots.left_out.toLocaleString("en")} older ones are left out.`;
  await drawSlots(at("slots"), slots, openTrial);
}, 5000);

let front = null;
const chosenPair = () => front.pairs[Number(at("front-pair").value) || 0] ?? [0, 1];
const drawnFront = () => drawFront(at("front"), front, chosenPair(), openTrial);
const pareto = calmly(async () => {
  if (!at("front")) return;
  front = await ask(`${root()}/data/front`);
  const left = front.left_out ? ` The best ${front.numbers.length.toLocaleString("en")} trials are drawn; ${front.left_out.toLocaleString("en")} others are left out.` : "";
  at("front-which").textContent = `${front.caption}${left}`;
  const menu = at("front-pair"), names = ([a, b]) => `${front.axes[a].name} and ${front.axes[b].name}`;
  if (menu.options.length !== front.pairs.length) menu.replaceChildren(...front.pairs.map((pair, place) => new Option(names(pair), place)));
  at("front-pairs").hidden = front.pairs.length < 2;
  await drawnFront();
}, 5000);
at("front-pair")?.addEventListener("change", () => drawnFront().catch(failed));
onColours(() => { colourRows(); if (front) drawnFront(); if (slots) drawSlots(at("slots"), slots, openTrial); });

at("importance-go").addEventListener("click", compute);
async function compute() {
  const place = at("importance"), button = at("importance-go");
  button.disabled = true;
  button.textContent = "Computing…";
  try {
    const found = await ask(`${root()}/data/importance`);
    place.replaceChildren(...importance(found));
  } catch (error) {
    const words = document.createElement("p");
    words.className = "empty";
    words.textContent = error.message;
    place.replaceChildren(words);
  }
}

function importance(found) {
  const note = (words) => { const p = document.createElement("p"); p.className = "empty"; p.textContent = words; return p; };
  if (found.problem) return [note(found.problem)];
  const goals = Object.entries(found.shares);
  if (!goals.some(([, shares]) => Object.keys(shares).length)) return [note("Too few complete trials with different values.")];
  return goals.flatMap(([goal, shares]) => {
    const table = document.createElement("table");
    table.className = "shares";
    table.setAttribute("aria-label", `Importance of parameters for ${goal}`);
    if (goals.length > 1) table.createCaption().textContent = goal;
    for (const [name, share] of Object.entries(shares)) {
      const row = table.insertRow(), head = document.createElement("th"), cell = row.insertCell(), value = row.insertCell();
      head.scope = "row";
      head.textContent = name;
      row.prepend(head);
      const bar = document.createElement("div");
      bar.className = "share";
      bar.style.width = `${Math.max(0.5, 100 * share)}%`;
      cell.append(bar);
      cell.className = "wide";
      value.textContent = `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
      value.className = "n";
    }
    return [table];
  });
}

// ---- begin

marked();
brushes();
drawn().catch(failed);
together();
timeline();
pareto();
seen = page.revision;
if (Number(page.total) <= AT_ONCE) compute();
follow((revision) => {
  if (String(revision) === seen) return;
  calm();
  together();
  timeline();
  pareto();
});
