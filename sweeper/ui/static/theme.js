// Runs before the page is drawn, so that it never flashes in the wrong colours.
(() => {
  const MODES = ["system", "light", "dark"];
  const SIGNS = { system: "◐", light: "☀", dark: "☾" };
  const read = () => { try { return localStorage.getItem("sweeper-colours") || "system"; } catch { return "system"; } };
  const apply = (mode) => {
    if (mode === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = mode;
  };
  let mode = read();
  apply(mode);
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const show = () => {
      button.textContent = SIGNS[mode];
      button.setAttribute("aria-label", `Colours: ${mode === "system" ? "as the system" : mode}`);
      button.title = button.getAttribute("aria-label");
    };
    show();
    button.addEventListener("click", () => {
      mode = MODES[(MODES.indexOf(mode) + 1) % MODES.length];
      try { localStorage.setItem("sweeper-colours", mode); } catch { /* private windows keep nothing */ }
      apply(mode);
      show();
      document.dispatchEvent(new Event("colours"));
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("colours")));
  });
})();
