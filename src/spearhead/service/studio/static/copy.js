// Copies what was shown once. Without it the words can be marked and copied by hand.
"use strict";
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue; // only over https or on this machine
  button.hidden = false;
  button.addEventListener("click", async () => {
    const words = document.getElementById(button.dataset.copy).textContent;
    const done = await navigator.clipboard.writeText(words).then(() => true, () => false);
    document.querySelector("[data-copied]").textContent = done ? button.dataset.done : button.dataset.failed;
  });
}
