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

/** Shown while the text is empty: what the model says of itself (its card, or null), and first lines. One that is
 * taken becomes the writer's text. */
export function invite(isEmpty, card, take) {
	const place = find("#invite");
	const what = `${document.documentElement.lang} ${JSON.stringify(card)}`;
	if (place.hidden === !isEmpty && place.dataset.what === what) return;
	place.hidden = !isEmpty;
	place.dataset.what = what;
	const { title = "", blurb = "", warning = "", language = "", starters = [], speakers = [] } = card ?? {};
	const [lines, lang] = starters.length > 0 ? [starters, language || null] : [STARTERS, "en"];
	const about = [title && make("h2", { dir: "auto" }, title), blurb && make("p", { dir: "auto" }, blurb), warning && make("p", { class: "warning", dir: "auto" }, warning)];
	const key = hasKeyboard ? readable(KEYS.continue[0]) : say("do.continue");
	const how = [speakers.length > 0 && say("scene.choose"), say("page.invite", { key })].filter(Boolean).join(" ");
	place.replaceChildren(...about.filter(Boolean), make("p", {}, how), ...lines.map((text) => button(text, () => take(text), { lang, dir: "auto" })));
}
