// The card with curves: its settings, and fetching only the curves of trials that have changed.
import { ask, at, failed, onColours, root } from "./base.js";
import { drawCurves } from "./charts.js";

const IDS = ["metric", "by", "smooth", "log-y", "log-x"];

export class CurvesCard {
  constructor(metric, { single = false } = {}) {
    this.single = single && !new URLSearchParams(location.search).has("metric");
    this.settings = { metric, by: "step", smooth: 0, logY: false, logX: false };
    this.known = new Map(); // number -> { stamp, curve }
    this.places = new Map();
    this.numbers = [];
    this.read();
    for (const id of IDS) at(id).addEventListener("input", () => this.changed());
    at("curves-tools").addEventListener("submit", (event) => event.preventDefault());
    onColours(() => this.draw());
  }

  read() {
    const query = new URLSearchParams(location.search);
    const set = this.settings;
    if (query.has("metric")) set.metric = query.get("metric");
    if (query.get("by") === "time") set.by = "time";
    set.smooth = Number(query.get("smooth") || 0);
    set.logY = query.get("log-y") === "yes";
    set.logX = query.get("log-x") === "yes";
    at("by").value = set.by;
    at("smooth").value = set.smooth;
    at("smooth-value").textContent = set.smooth;
    at("log-y").checked = set.logY;
    at("log-x").checked = set.logX;
    this.offer([set.metric]);
  }

  changed() {
    this.single = false; // what was chosen stays
    const set = this.settings;
    const before = `${set.metric} ${set.by}`;
    Object.assign(set, {
      metric: at("metric").value, by: at("by").value, smooth: Number(at("smooth").value),
      logY: at("log-y").checked, logX: at("log-x").checked,
    });
    at("smooth-value").textContent = set.smooth;
    const query = new URLSearchParams(location.search);
    const keep = (key, value, usual) => (value === usual ? query.delete(key) : query.set(key, value));
    keep("metric", set.metric, undefined);
    keep("by", set.by, "step");
    keep("smooth", String(set.smooth), "0");
    keep("log-y", set.logY ? "yes" : "", "");
    keep("log-x", set.logX ? "yes" : "", "");
    history.replaceState(null, "", `${location.pathname}?${query}`);
    if (before !== `${set.metric} ${set.by}`) {
      this.known.clear();
      this.fetch().catch(failed);
    } else this.draw();
  }

  offer(names) {
    const menu = at("metric"), wanted = this.settings.metric;
    const all = [...new Set([wanted, ...names])].filter(Boolean);
    if (menu.options.length === all.length && all.every((name, index) => menu.options[index].value === name)) return;
    menu.replaceChildren(...all.map((name) => new Option(name, name, false, name === wanted)));
  }

  // `trials` are [number, stamp] pairs: a stamp differs if the curve may have grown.
  async show(trials) {
    this.numbers = trials.map(([number]) => number);
    this.stamps = new Map(trials);
    this.places = new Map(this.numbers.map((number, place) => [number, place]));
    await this.fetch();
  }

  async fetch() {
    const stale = this.numbers.filter((number) => this.known.get(number)?.stamp !== this.stamps.get(number));
    if (stale.length) {
      const set = this.settings, stamps = this.stamps;
      const query = new URLSearchParams({ numbers: stale.join(","), by: set.by });
      if (set.metric) query.append("metric", set.metric);
      const found = await ask(`${root()}/data/curves?${query}`);
      if (!set.metric && found.metrics.length) {
        set.metric = found.metrics[0];
        this.offer(found.metrics);
        return this.fetch();
      }
      // One value is no curve: a trial that was stopped before its second evaluation shows its loss instead.
      const loss = found.metrics.find((name) => name.includes("loss"));
      if (this.single && loss && found.curves.every((curve) => curve.recorded < 2) && set.metric !== loss) {
        set.metric = loss;
        this.offer(found.metrics);
        return this.fetch();
      }
      for (const curve of found.curves) this.known.set(curve.number, { stamp: stamps.get(curve.number), curve });
      this.offer([...found.metrics, ...[...at("metric").options].map((option) => option.value)]);
    }
    await this.draw();
  }

  async draw() {
    const curves = this.numbers.map((number) => this.known.get(number)?.curve).filter(Boolean);
    await drawCurves(at("curves"), curves, this.settings, this.places);
  }
}
