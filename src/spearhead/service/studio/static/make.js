// Make: sends the form without leaving it, and shows the line as it moves. The page works without this.
"use strict";
const form = document.getElementById("ask");
const cards = document.getElementById("cards");
const status = document.getElementById("status");
const problem = document.getElementById("problem");

function complain(words, code) {
  problem.querySelector("span").textContent = words || "";
  problem.querySelector("a").hidden = code !== "signed_out";
  problem.hidden = !words;
  if (words) problem.scrollIntoView({ block: "nearest" });
}

async function ask(url, body) {
  const said = await send(url, body).catch(() => ({ problem: problem.dataset.away }));
  if (said.problem) complain(said.problem, said.code);
  return said;
}

if (form) {
  const button = document.getElementById("send");
  const words = (body) => JSON.stringify([...body].map(([name, value]) => [name, value.name ? [value.name, value.size] : value]));
  let turn = null; // of the last one that is on its way: what it says, and when it is taken
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = new FormData(form);
    const mine = { words: words(body), before: turn?.taken };
    if (turn?.words === mine.words) return; // pressed twice
    if (!turn) complain("");
    turn = mine;
    button.ariaBusy = "true";
    mine.taken = (async () => {
      await mine.before;
      const said = await ask("/make", body);
      if (turn === mine) {
        turn = null;
        button.ariaBusy = null;
      }
      if (said.problem) return;
      status.textContent = status.dataset.added;
      for (const name of ["list", "file"]) {
        const field = form.elements[name];
        if (!field || turn) continue; // what stands there now has been sent as well
        field.value = "";
        typed.note(field);
      }
    })();
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
  event.submitter.ariaBusy = "true";
  complain("");
  const said = await ask(event.target.action, body);
  event.submitter.ariaBusy = null;
  if (clears && !said.problem) for (const card of cards.querySelectorAll(".work")) if (over(card)) card.remove();
  tidy();
});

const over = (card) => !["waiting", "running"].includes(card.dataset.state);

function tidy() {
  const all = [...cards.children];
  document.getElementById("empty").hidden = all.length > 0;
  for (const [name, any] of [["cancel-all", all.some((card) => !over(card))], ["clear", all.some(over)]]) {
    const button = document.getElementById(name);
    if (!any && button === document.activeElement) document.getElementById("line-title").focus();
    button.hidden = !any;
  }
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

function paid(words) {
  const balance = document.getElementById("balance");
  if (balance && words) balance.textContent = words;
}

// -- the line as it moves
let news = null;

function touch(how) {
  for (const name of ["lost", "out"]) document.getElementById(`touch-${name}`).hidden = name !== how;
}

function listen() {
  news?.close();
  const mine = (news = new EventSource("/make/news"));
  mine.addEventListener("open", () => touch(""));
  mine.addEventListener("error", async () => {
    if (mine.readyState !== EventSource.CLOSED) {
      touch("lost"); // the browser tries again by itself
      return;
    }
    const page = await fetch("/make", { redirect: "manual" }).catch(() => null);
    if (mine !== news) return;
    touch(page?.type === "opaqueredirect" ? "out" : "lost");
    setTimeout(() => mine === news && listen(), 3000);
  });
  mine.addEventListener("all", (event) => {
    const all = JSON.parse(event.data);
    if (all.person !== about("person")) return location.reload(); // somebody else has signed in in another window
    const here = document.activeElement?.closest?.(".work")?.id;
    cards.replaceChildren(...all.cards.map((card) => made(card.html)));
    if (here) (document.getElementById(here) || document.getElementById("line-title")).focus({ preventScroll: true });
    paid(all.balance);
    tidy();
  });
  mine.addEventListener("work", (event) => {
    const card = JSON.parse(event.data);
    const fresh = show(card);
    if (over(fresh)) status.textContent = `${fresh.getAttribute("aria-label")}: ${fresh.querySelector(".pill").textContent}`;
    paid(card.balance);
    tidy();
  });
  mine.addEventListener("more", (event) => {
    const more = JSON.parse(event.data);
    const draft = document.getElementById(more.work)?.querySelector(`.draft[data-index="${more.index}"]`);
    if (!draft || Number(draft.dataset.parts) >= more.part) return;
    draft.dataset.parts = more.part;
    draft.append(more.delta);
  });
}

// A window that nobody looks at holds no connection: a browser has six for one address.
function follow() {
  if (!document.hidden) return listen();
  news?.close();
  news = null;
}

if (cards) {
  tidy();
  follow();
  document.addEventListener("visibilitychange", follow);
}
