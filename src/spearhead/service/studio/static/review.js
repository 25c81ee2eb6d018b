// Reviewing from the keyboard, and the lease as it runs. The pages work without it: every action is a form of theirs.
"use strict";
(() => {
  const STORE = "spearhead-shortcuts";
  const told = document.querySelector("[data-told]");
  const help = document.querySelector("[data-shortcuts]");
  const on = document.querySelector("[data-shortcuts-on]");
  let chosen = null; // the button that Ctrl+Enter presses

  const say = (words) => {
    if (told && words) told.textContent = words;
  };
  const kept = () => {
    try {
      return localStorage.getItem(STORE) !== "off";
    } catch {
      return true; // a browser that keeps nothing has them on
    }
  };
  if (on) {
    on.checked = kept();
    on.addEventListener("change", () => {
      try {
        localStorage.setItem(STORE, on.checked ? "on" : "off");
      } catch {
        // they hold for this page then
      }
    });
  }

  const move = (step) => {
    const rows = [...document.querySelectorAll("[data-list] tbody a")];
    const places = rows.length ? rows : [...document.querySelectorAll("[data-part]")];
    if (!places.length) return;
    const here = places.findIndex((place) => place === document.activeElement || place.contains(document.activeElement));
    const next = here < 0 ? (step > 0 ? 0 : places.length - 1) : Math.min(places.length - 1, Math.max(0, here + step));
    places[next].focus();
    places[next].scrollIntoView({ block: "nearest" });
  };

  const act = (button) => {
    if (button.disabled) return;
    if ("now" in button.dataset) {
      button.click();
    } else if ("reason" in button.dataset) {
      chosen = button;
      document.getElementById("reason").focus();
    } else {
      button.focus();
    }
    say(button.dataset.say);
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (typing) {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && typing.id === "reason" && chosen) {
        event.preventDefault();
        chosen.form.requestSubmit(chosen);
      } else if (event.key === "Escape") {
        typing.blur();
      }
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || (on && !on.checked)) return;
    if (event.key === "?") {
      event.preventDefault();
      help.open = !help.open;
      if (help.open) help.querySelector("summary").focus();
    } else if (event.key === "j" || event.key === "k") {
      event.preventDefault();
      move(event.key === "j" ? 1 : -1);
    } else if (/^[a-z]$/.test(event.key)) {
      const button = document.querySelector(`[aria-keyshortcuts="${event.key}"]`);
      if (!button) return;
      event.preventDefault();
      act(button);
    }
  });

  const lease = document.querySelector("[data-lease]");
  if (lease) {
    const shown = lease.querySelector("[data-left]");
    const soon = document.querySelector("[data-soon]");
    const over = document.querySelector("[data-over]");
    const away = document.querySelector("[data-away]");
    let end = Date.now() + 1000 * Number(lease.dataset.lease);
    const tick = () => {
      const left = Math.max(0, Math.round((end - Date.now()) / 1000));
      shown.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
      soon.hidden = left === 0 || left > 120;
      over.hidden = left > 0;
      for (const button of document.querySelectorAll(".decide button")) button.disabled = left === 0;
    };
    tick();
    setInterval(tick, 1000);
    const renew = document.querySelector("[data-renew]");
    renew?.addEventListener("submit", async (event) => {
      event.preventDefault();
      const said = await send(renew.action, new FormData(renew)).catch(() => null);
      if (said === null) {
        away.hidden = false;
      } else if (said.seconds) {
        away.hidden = true;
        end = Date.now() + 1000 * said.seconds;
        tick();
      } else {
        location.reload(); // it tells how the item stands now
      }
    });
  }
})();
