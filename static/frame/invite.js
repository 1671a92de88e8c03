// What an empty page says: begin, and a few sentences to begin with.

import { button, find, hasKeyboard, make } from "./element.js";
import { KEYS, readable } from "./keys.js";
import { say } from "./language.js";

const STARTERS = [ // in the language of the models, whatever the page speaks
	"On the evening the fair left town, Anna found the old lamplighter asleep against the church wall.",
	"My dear sister, I write to you from a house in which nobody sleeps.",
	"The ship had been at anchor nine days when the captain asked us all to come on deck.",
	"It is a truth seldom spoken aloud, that a clock which has stopped",
];

/** Shown while the text is empty; a starter that is taken becomes the writer's text. */
export function invite(isEmpty, take) {
	const place = find("#invite");
	if (place.hidden === !isEmpty && place.dataset.language === document.documentElement.lang) return;
	place.hidden = !isEmpty;
	place.dataset.language = document.documentElement.lang;
	const starters = STARTERS.map((text) => button(text, () => take(text), { lang: "en" }));
	place.replaceChildren(make("p", {}, say("page.invite", { key: hasKeyboard ? readable(KEYS.continue[0]) : say("do.continue") })), ...starters);
}
