// What every page does beyond its forms: apply a choice of language or light at once. Pages work without it.
"use strict";
for (const form of document.querySelectorAll("form.manner")) {
  form.querySelector("button").hidden = true;
  form.addEventListener("change", () => form.submit());
}
