// Follows the colour mode that was chosen in Airflow, which keeps it under this name. "system" is the style sheet's business.
"use strict";
(() => {
  const follow = () => {
    let chosen = null;
    try {
      chosen = localStorage.getItem("theme");
    } catch {
      // Storage may be closed to this frame: then the system's own mode stands.
    }
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
  };
  follow();
  addEventListener("storage", follow);
})();
