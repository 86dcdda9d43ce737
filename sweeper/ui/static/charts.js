// Charts by plotly: curves, slots and depth profiles, in the colours of the page.
import { colour, page, plotly, trialName } from "./base.js";

const DASHES = ["solid", "dash", "dot", "dashdot"];
const COLOURS = 8;
const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };

export function lineOf(place) {
  return { colour: colour(`line-${place % COLOURS}`), dash: DASHES[Math.floor(place / COLOURS) % DASHES.length] };
}

function layout(more = {}) {
  const ink = colour("soft"), line = colour("line");
  const axis = { gridcolor: line, linecolor: line, zeroline: false, tickcolor: line, automargin: true, title: { standoff: 10, font: { size: 12 } } };
  const { xaxis, yaxis, ...rest } = more;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: ink },
    margin: { l: 52, r: 12, t: 8, b: 40 }, showlegend: false, hovermode: "closest", dragmode: "zoom",
    hoverlabel: { bgcolor: colour("card"), bordercolor: line, font: { color: colour("ink"), family: "system-ui, sans-serif" } },
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  };
}

function empty(element, text) {
  window.Plotly?.purge(element);
  element.classList.add("blank");
  element.textContent = text;
  element.setAttribute("aria-label", text);
}

async function draw(element, traces, shape, label) {
  const library = await plotly();
  if (element.classList.contains("blank")) { element.textContent = ""; element.classList.remove("blank"); }
  await library.react(element, traces, shape, CONFIG);
  element.setAttribute("aria-label", label);
  return library;
}

// An exponential moving average that begins at the first value, as TensorBoard's.
export function smoothed(values, weight) {
  if (!weight) return values;
  let last = 0, count = 0;
  return values.map((value) => {
    if (value === null) return null;
    last = last * weight + (1 - weight) * value;
    count += 1;
    return last / (1 - weight ** count);
  });
}

const short = (value) => (value === null || value === undefined ? "-" : Number(value.toPrecision(4)).toString());

export async function drawCurves(element, curves, settings, places) {
  const lines = curves.filter((one) => one.y.some((value) => value !== null));
  if (!lines.length) return empty(element, curves.length ? `No value of ${settings.metric} was recorded yet.` : "No trial to draw.");
  const traces = [];
  for (const one of lines) {
    const look = lineOf(places.get(one.number) ?? 0), name = trialName(one.number);
    const x = [], y = [];
    one.x.forEach((value, index) => {
      if (one.breaks?.includes(index)) { x.push(value); y.push(null); }
      x.push(value); y.push(one.y[index]);
    });
    const line = { color: look.colour, dash: look.dash, width: 1.8 };
    const marks = one.x.length < 12 ? "lines+markers" : "lines";
    const hover = `<b>${name}</b> ${settings.by === "time" ? "%{x:.0f} s" : "step %{x}"}<br>%{y:.5g}<extra></extra>`;
    if (settings.smooth) {
      traces.push({ x, y, mode: "lines", line: { ...line, width: 1 }, opacity: 0.25, hoverinfo: "skip", name });
    }
    traces.push({
      x, y: smoothed(y, settings.smooth), mode: marks, line, marker: { size: 4, color: look.colour }, name,
      hovertemplate: hover, hoverlabel: { bordercolor: look.colour },
    });
  }
  const shape = layout({
    xaxis: { title: { text: settings.by === "time" ? "seconds since the launch" : "step", standoff: 8 }, type: settings.logX ? "log" : "linear" },
    yaxis: { type: settings.logY ? "log" : "linear" }, uirevision: `${settings.metric} ${settings.by} ${settings.logX} ${settings.logY}`,
  });
  const said = lines.map((one) => `trial ${one.number} ends at ${short(one.y.findLast((value) => value !== null))}`).join(", ");
  await draw(element, traces, shape, `Curves of ${settings.metric} over ${settings.by}: ${said}.`);
}

const WORDS = { COMPLETE: "completed", PRUNED: "stopped", FAIL: "failed", RUNNING: "running", WAITING: "retried or lost" };
const FEW_SLOTS = 30;

export async function drawSlots(element, found, open) {
  if (!found.spans.length) return empty(element, "No trial has been launched yet.");
  const zero = Math.min(...found.spans.map((span) => span.begin));
  const groups = new Map();
  for (const span of found.spans) {
    const state = span.end === null ? (span.state === "RUNNING" ? "RUNNING" : "WAITING")
      : span.ended === "completed" ? "COMPLETE" : span.ended === "stopped" ? "PRUNED" : span.state === "FAIL" ? "FAIL" : "WAITING";
    if (!groups.has(state)) groups.set(state, []);
    groups.get(state).push(span);
  }
  const total = Math.max(...found.spans.map((span) => (span.end ?? found.now))) - zero;
  const [unit, name] = total > 3 * 86400 ? [86400, "days"] : total > 3 * 3600 ? [3600, "hours"] : total > 180 ? [60, "minutes"] : [1, "seconds"];
  const traces = [...groups].map(([state, spans]) => ({
    type: "bar", orientation: "h", name: WORDS[state],
    y: spans.map((span) => span.slot || "?"), base: spans.map((span) => (span.begin - zero) / unit),
    x: spans.map((span) => Math.max(((span.end ?? found.now) - span.begin) / unit, total / unit / 800)),
    customdata: spans.map((span) => [trialName(span.number), span.attempt, span.ended, Math.round((span.end ?? found.now) - span.begin), span.number]),
    marker: { color: colour(state.toLowerCase()), line: { width: found.spans.length > 400 ? 0 : 1, color: colour("card") } },
    hovertemplate: "<b>%{customdata[0]}</b> attempt %{customdata[1]}<br>%{y}, %{customdata[3]} s, %{customdata[2]}<extra></extra>",
  }));
  const many = found.slots.length > FEW_SLOTS;
  element.style.height = `${Math.min(520, Math.max(170, 70 + 22 * found.slots.length))}px`;
  const shape = layout({
    barmode: "overlay", bargap: many ? 0 : 0.25, showlegend: true, uirevision: "slots",
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 60, r: 12, t: 30, b: 40 },
    xaxis: { title: { text: `${name} since the first launch`, standoff: 8 } },
    yaxis: { type: "category", categoryorder: "array", categoryarray: [...found.slots].sort((a, b) => b.localeCompare(a, "en", { numeric: true })), showticklabels: !many, showgrid: false },
  });
  await draw(element, traces, shape, `${found.spans.length} attempts on ${found.slots.length} slots over ${(total / unit).toFixed(1)} ${name}.`);
  if (!element.dataset.opens) {
    element.dataset.opens = "yes";
    element.on("plotly_click", (event) => open(event.points[0].customdata[4]));
  }
}

const FEW_NAMED = 8;

export async function drawFront(element, found, [first, second], open) {
  if (!found.numbers.length) return empty(element, "No trial has a value of every objective yet.");
  const places = new Map(found.numbers.map((number, place) => [number, place])), members = found.front.map((number) => places.get(number));
  const states = JSON.parse(page.states);
  const axes = [found.axes[first], found.axes[second]];
  const group = (chosen, more) => ({
    mode: "markers", type: "scatter", x: chosen.map((at) => axes[0].values[at]), y: chosen.map((at) => axes[1].values[at]),
    customdata: chosen.map((at) => [trialName(found.numbers[at]), found.numbers[at], states[found.states[at]]]),
    hovertemplate: `<b>%{customdata[0]}</b> %{customdata[2]}<br>${axes.map((axis, at) => `${safe(axis.name)} %{${"xy"[at]}:.5g}`).join("<br>")}<extra></extra>`, ...more,
  });
  const all = found.numbers.map((_, at) => at), traces = [];
  for (const [state, name] of Object.entries(states)) {
    const chosen = all.filter((at) => found.states[at] === state && found.feasible[at]);
    if (chosen.length) traces.push(group(chosen, { name, marker: { color: colour(state.toLowerCase()), size: 7, opacity: 0.8 } }));
  }
  const beyond = all.filter((at) => !found.feasible[at]);
  if (beyond.length) traces.push(group(beyond, { name: "beyond a constraint", marker: { color: beyond.map((at) => colour(found.states[at].toLowerCase())), size: 7, symbol: "x-thin", line: { width: 1.5, color: colour("soft") } } }));
  const few = members.length <= FEW_NAMED;
  traces.push(group(members, {
    name: "Pareto front", mode: few ? "markers+text" : "markers", text: members.map((at) => trialName(found.numbers[at])), textposition: "top right", textfont: { size: 11 },
    marker: { symbol: "circle-open", size: 13, color: colour("ink"), line: { width: 1.6 } },
  }));
  if (found.stepped) {
    const bound = [...members].sort((a, b) => axes[0].values[a] - axes[0].values[b]);
    traces.push({ x: bound.map((at) => axes[0].values[at]), y: bound.map((at) => axes[1].values[at]), mode: "lines", hoverinfo: "skip", showlegend: false, line: { shape: axes[0].maximize ? "vh" : "hv", dash: "dash", width: 1, color: colour("ink") } });
  }
  const shape = layout({
    showlegend: true, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" }, margin: { l: 60, r: 12, t: 30, b: 44 }, uirevision: `front ${first} ${second}`,
    ...Object.fromEntries(axes.map((axis, at) => [`${"xy"[at]}axis`, { type: axis.log ? "log" : "linear", title: { text: `${safe(axis.name)} (${axis.better})`, standoff: 8 } }])),
  });
  const said = few ? `: ${found.front.map((number) => `trial ${number}`).join(", ")}` : "";
  await draw(element, traces, shape, `${found.numbers.length} trials over ${axes[0].name} and ${axes[1].name}; ${found.front.length} on the Pareto front${said}.`);
  if (!element.dataset.opens) {
    element.dataset.opens = "yes";
    element.on("plotly_click", (event) => open(event.points[0].customdata[1]));
  }
}

// Plotly reads a part of HTML in texts: names of metrics are text.
const safe = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

const shortLayers = (layers) => {
  const parts = layers.map((layer) => layer.split("."));
  let same = 0;
  while (parts.length > 1 && parts.every((part) => part.length > same + 1 && part[same] === parts[0][same])) same += 1;
  return parts.map((part) => part.slice(same).join("."));
};

export async function drawDepth(element, found, place) {
  if (!found.profiles.length) return empty(element, "No gradients are recorded: the script does not watch its model, or no observation was made yet.");
  const layers = shortLayers(found.layers), index = layers.map((_, at) => at);
  const logs = (values) => values.map((value) => (value > 0 ? Math.log10(value) : null));
  const rows = index.map((layer) => found.profiles.map((profile) => logs(profile.rms)[layer]));
  const steps = found.profiles.map((profile) => profile.step), now = found.profiles[place];
  const known = rows.flat().filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const names = layers.map((name) => (name.length > 26 ? `…${name.slice(-25)}` : name));
  const narrow = element.clientWidth < 480, few = layers.length <= 16 && !narrow;
  const ticks = { tickmode: "array", tickvals: few ? index : [0, layers.length - 1], ticktext: few ? names : narrow ? ["input", "output"] : [names[0], names.at(-1)] };
  const shape = layout({
    margin: { l: 60, r: 8, t: 8, b: 40 },
    xaxis: { domain: narrow ? [0, 0.55] : [0, 0.6], title: { text: "step", standoff: 8 }, showgrid: false },
    xaxis2: { domain: narrow ? [0.65, 1] : [0.68, 1], title: { text: narrow ? "log10" : "log10 of the gradient", standoff: 8 }, range: [low - 0.2, high + 0.2], gridcolor: colour("line"), zeroline: false },
    yaxis: { ...ticks, autorange: "reversed", showgrid: false, tickfont: { size: 10 } },
    yaxis2: { matches: "y", anchor: "x2", showticklabels: false, showgrid: false, autorange: "reversed", zeroline: false },
    shapes: [{ type: "line", x0: now.step, x1: now.step, yref: "paper", y0: 0, y1: 1, line: { color: colour("accent"), width: 2 } }],
    uirevision: "depth",
  });
  const scale = [[0, colour("heat-0")], [0.5, colour("heat-1")], [1, colour("heat-2")]];
  const traces = [
    { type: "heatmap", x: steps, y: index, z: rows, colorscale: scale, zmin: low, zmax: high, showscale: false, zsmooth: false, customdata: index.map((at) => steps.map(() => layers[at])), hovertemplate: "%{customdata}<br>step %{x}: 10^%{z:.2f}<extra></extra>" },
    { x: logs(now.rms), y: index, xaxis: "x2", yaxis: "y2", mode: "lines+markers", line: { color: colour("accent"), width: 1.8 }, marker: { size: 5 }, text: layers, hovertemplate: "%{text}<br>10^%{x:.2f}<extra></extra>" },
  ];
  const reach = now.reach === null ? "" : `; reach ${short(now.reach)}`;
  await draw(element, traces, shape, `Gradient of ${layers.length} layers at step ${now.step}${reach}: ${short(now.rms[0])} at ${layers[0]}, ${short(now.rms.at(-1))} at ${layers.at(-1)}.`);
}
