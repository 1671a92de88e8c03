// What an empty page says: begin, and a few sentences to begin with.

import { find, make } from "./element.js";
import { KEYS, readable } from "./keys.js";
import { say } from "./words.js";

const STARTERS = 4;

/** Shown while the text is empty; a starter that is taken becomes the writer's text. */
export function invite(isEmpty, take) {
  const place = find("#invite");
  if (place.hidden === !isEmpty && place.dataset.language === document.documentElement.lang) return;
  place.hidden = !isEmpty;
  place.dataset.language = document.documentElement.lang;
  const starters = Array.from({ length: STARTERS }, (_, index) => {
    const text = say(`starter.${index + 1}`);
    return make("button", { type: "button", lang: "en", on: { click: () => take(text) } }, text);
  });
  place.replaceChildren(make("p", {}, say("page.invite", { key: readable(KEYS.continue[0]) })), ...starters);
}
