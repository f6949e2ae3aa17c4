// Triggers the month's Dag for one recipient, through Airflow's own API and with what Airflow allows the person to do.
"use strict";
(() => {
  const form = document.getElementById("again");
  const outcome = document.getElementById("again-outcome");
  if (!form) return;
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    outcome.textContent = "Asking Airflow …";
    const { runs, period, recipient, edition } = form.dataset;
    try {
      const answer = await fetch(runs, {
        method: "POST",
        credentials: "same-origin",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ logical_date: null, conf: { period, recipients: [recipient], edition } }),
      });
      const told = await answer.json();
      if (!answer.ok) throw new Error(typeof told.detail === "string" ? told.detail : `Airflow answered ${answer.status}`);
      outcome.textContent = `Triggered: run ${told.dag_run_id}. It sends the mail within minutes, if the Dag is not paused.`;
    } catch (error) {
      outcome.textContent = `Not triggered: ${error.message}`;
      button.disabled = false;
    }
  });
})();
