// The page of all runs: its table is fetched again every few seconds while somebody sees it.
import { ask, at, failed, put } from "./base.js";

let wait = 500;
async function update() {
  if (!document.hidden) {
    try {
      const found = await ask("/live");
      put(at("runs"), found.table);
      wait = found.reading ? 500 : 3000;
    } catch (error) { failed(error); }
  }
  setTimeout(update, wait);
}
setTimeout(update, wait);
