// What every page does beyond its forms: a choice of language or light holds at once, a form is sent once, and what was
// typed is kept in this window until it is taken. Pages work without it.
"use strict";
for (const form of document.querySelectorAll("form.manner")) {
  form.querySelector("button").hidden = true;
  form.addEventListener("change", () => form.submit());
}

// What the page before did is told once: not again when the page is loaded anew or kept as a bookmark.
if (new URLSearchParams(location.search).has("said")) {
  const plain = new URL(location.href);
  plain.searchParams.delete("said");
  history.replaceState(history.state, "", plain);
}

const about = (name) => document.querySelector(`meta[name="${name}"]`)?.content || "";

// -- a form of ours, sent by a script: what the server says to it, as JSON; rejects when no answer comes
async function send(url, body, { again = true } = {}) {
  const headers = { accept: "application/json", "x-form-token": about("form-token") };
  const answer = await fetch(url, { method: "POST", body, headers, redirect: "error" });
  const is = answer.headers.get("content-type") || "";
  const said = is.startsWith("application/json") ? await answer.json() : {};
  if (answer.ok || said.problem) {
    return again && said.code === "stale_form" && (await renewed()) ? send(url, body, { again: false }) : said;
  }
  return { problem: `${answer.status} ${answer.statusText}` };
}

// The same person has signed in anew, in another window: the forms of this one go on.
async function renewed() {
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const find = (name) => page.querySelector(`meta[name="${name}"]`)?.content || "";
  if (!find("person") || find("person") !== about("person")) return false;
  document.querySelector('meta[name="form-token"]').content = find("form-token");
  for (const field of document.querySelectorAll('input[name="token"]')) field.value = find("form-token");
  return true;
}

// -- once
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || form.matches("[data-quiet]")) return;
  if ("sent" in form.dataset) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "";
  event.submitter?.setAttribute("aria-busy", "true");
  typed.sent(form);
  setTimeout(() => unsent(form), 10000); // whoever stopped the browser may send it again
});

function unsent(form) {
  delete form.dataset.sent;
  for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
}

addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach(unsent));

// -- what was typed, in fields with data-keep: through a reload, a mistake, a session that is over, a server that is away
const typed = (() => {
  const STORE = "spearhead-typed";
  const person = about("person");
  const came = performance.getEntriesByType("navigation")[0]?.type || "navigate";
  const failed = "failed" in document.querySelector("main").dataset;
  const fields = () => document.querySelectorAll("[data-keep]");
  const tick = (field) => field.type === "checkbox";
  const value = (field) => (tick(field) ? String(field.checked) : field.value);
  const given = (field) => {
    if (tick(field)) return String(field.defaultChecked);
    if (field.tagName === "SELECT") return ([...field.options].find((one) => one.defaultSelected) || field.options[0])?.value;
    return field.defaultValue;
  };
  const put = (field, words) => {
    if (field.tagName === "SELECT" && ![...field.options].some((one) => one.value === words)) return;
    tick(field) ? (field.checked = words === "true") : (field.value = words);
    for (let around = field.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
  };

  const read = () => {
    try {
      const kept = JSON.parse(sessionStorage.getItem(STORE)) || {};
      return kept.person === person || !person ? kept : { person };
    } catch {
      return { person }; // a browser that keeps nothing
    }
  };
  const kept = { person, words: {}, sent: [], ...read() };
  const write = () => {
    try {
      sessionStorage.setItem(STORE, JSON.stringify(kept));
    } catch {
      // it is full or not allowed: the page works as without it
    }
  };

  if (person) {
    if (kept.sent.length && !failed && came !== "back_forward") for (const name of kept.sent) delete kept.words[name];
    kept.sent = [];
    for (const field of fields()) {
      const name = field.dataset.keep;
      if (came === "navigate" && field.closest("[data-fresh]")) delete kept.words[name]; // what the page shows was asked for
      else if (name in kept.words && value(field) === given(field)) put(field, kept.words[name]);
    }
    write();
  }

  const note = (field) => {
    if (!("keep" in field.dataset)) return;
    if (value(field) === given(field)) delete kept.words[field.dataset.keep];
    else kept.words[field.dataset.keep] = value(field);
    write();
  };
  document.addEventListener("input", (event) => note(event.target));
  document.addEventListener("change", (event) => note(event.target));
  return {
    note,
    sent(form) {
      if (form.matches('[action="/logout"]')) return sessionStorage.removeItem(STORE);
      kept.sent = [...form.querySelectorAll("[data-keep]")].map((field) => field.dataset.keep);
      if (person) write();
    },
  };
})();
