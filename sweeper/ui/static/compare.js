// The page of two trials side by side.
import { failed, page } from "./base.js";
import { CurvesCard } from "./curves.js";
import { lineOf } from "./charts.js";

const numbers = page.numbers.split(",").map(Number);
const curves = new CurvesCard(page.metric);
curves.show(numbers.map((number) => [number, "once"])).catch(failed);
document.querySelectorAll(".diff thead th.n").forEach((head, place) => {
  head.style.boxShadow = `inset 0 -3px 0 ${lineOf(place).colour}`;
});
