// Make: sends the form without leaving it, and shows the line as it moves. The page works without this.
"use strict";
const form = document.getElementById("ask");
const cards = document.getElementById("cards");
const status = document.getElementById("status");
const problem = document.getElementById("problem");
const token = document.querySelector('meta[name="form-token"]').content;

async function send(url, body) {
  const answer = await fetch(url, {
    method: "POST", body, headers: { accept: "application/json", "x-form-token": token }, redirect: "error",
  });
  if (answer.ok) return {};
  if ((answer.headers.get("content-type") || "").startsWith("application/json")) return answer.json();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { problem: page.querySelector("main")?.innerText.trim() || answer.statusText };
}

function complain(words) {
  problem.textContent = words || "";
  problem.hidden = !words;
}

if (form) {
  const button = document.getElementById("send");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    complain("");
    try {
      const said = await send("/make", new FormData(form));
      complain(said.problem);
      if (!said.problem) {
        status.textContent = status.dataset.added;
        for (const name of ["list", "file"]) if (form.elements[name]) form.elements[name].value = "";
      }
    } catch {
      form.submit(); // no connection for scripts: the browser itself says what is wrong
    } finally {
      button.disabled = false;
    }
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
}

document.addEventListener("submit", async (event) => {
  if (!event.target.matches("form[data-quiet]")) return;
  event.preventDefault();
  const body = new FormData(event.target, event.submitter);
  const clears = event.target.getAttribute("action").endsWith("/clear");
  const said = await send(event.target.action, body);
  complain(said.problem);
  if (clears) for (const card of cards.querySelectorAll(".work")) if (over(card)) card.remove();
  tidy();
});

const over = (card) => !["waiting", "running"].includes(card.dataset.state);

function tidy() {
  document.getElementById("empty").hidden = cards.childElementCount > 0;
}

function made(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html; // a card of our own templates, in which every word from elsewhere is escaped
  return holder.content.querySelector("article");
}

function show(card, { first = true } = {}) {
  const fresh = made(card.html);
  const old = document.getElementById(card.work);
  if (!old) {
    first ? cards.prepend(fresh) : cards.append(fresh);
  } else {
    const inside = old.contains(document.activeElement);
    old.replaceWith(fresh);
    if (inside) fresh.focus();
  }
  return fresh;
}

const news = cards ? new EventSource("/make/news") : null;
if (news) {
  const lost = document.getElementById("lost-touch");
  news.addEventListener("open", () => { lost.hidden = true; });
  news.addEventListener("error", () => { lost.hidden = news.readyState === EventSource.OPEN; });
  news.addEventListener("all", (event) => {
    cards.replaceChildren(...JSON.parse(event.data).cards.map((card) => made(card.html)));
    tidy();
  });
  news.addEventListener("work", (event) => {
    const card = JSON.parse(event.data);
    const fresh = show(card);
    if (over(fresh)) status.textContent = `${fresh.getAttribute("aria-label")}: ${fresh.querySelector(".pill").textContent}`;
    tidy();
  });
  news.addEventListener("more", (event) => {
    const more = JSON.parse(event.data);
    const draft = document.getElementById(more.work)?.querySelector(`.draft[data-index="${more.index}"]`);
    if (!draft || Number(draft.dataset.parts) >= more.part) return;
    draft.dataset.parts = more.part;
    draft.append(more.delta);
  });
}
