// Gallery: says how many are ticked, and compares when it is two. Without it the form asks the server, which says so.
"use strict";
const compare = document.getElementById("compare");
if (compare) {
  const button = compare.querySelector("button");
  const told = compare.querySelector("[data-picked]");
  const boxes = [...compare.querySelectorAll('input[name="one"]')];
  const count = () => {
    const picked = boxes.filter((box) => box.checked).length;
    button.ariaDisabled = picked === 2 ? null : "true";
    told.textContent = told.dataset[picked === 2 ? "two" : picked > 2 ? "more" : picked ? "one" : "none"];
    compare.querySelector(".picking").classList.toggle("stays", picked > 0);
  };
  compare.addEventListener("change", count);
  compare.addEventListener("submit", (event) => {
    if (button.ariaDisabled) event.preventDefault();
  });
  addEventListener("pageshow", count);
}
