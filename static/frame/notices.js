// What the page has to tell: lines above the text that stay until they are settled, and a voice for
// those who listen. Text stays text.

import { button, cross, find, make } from "./element.js";
import { say } from "./language.js";

const shown = new Map();

/** Show a line under a name, in place of the one of that name. `actions`: [[label, task], …]. */
export function notify(name, text, actions = []) {
	if (shown.get(name)?.firstChild.textContent === text) return;
	dismiss(name);
	const buttons = actions.map(([label, task]) =>
		button(label, () => { dismiss(name); task(); }));
	const line = make("div", { class: "notice", "data-notice": name }, make("span", {}, text), ...buttons, cross(say("do.close"), () => dismiss(name)));
	shown.set(name, line);
	find("#notices").append(line);
}

export function dismiss(name) {
	const line = shown.get(name);
	const held = line?.contains(document.activeElement);
	line?.remove();
	shown.delete(name);
	if (held) find("#text").focus(); // focus is never lost
}

export function announce(text) {
	find("#said").append(make("p", {}, text));
	while (find("#said").children.length > 6) find("#said").firstChild.remove();
}

/** Announces what arrives sentence by sentence: a voice reading single tokens is no use. */
export class Voice {
	#rest = "";

	hear(text) {
		this.#rest += text;
		const sentences = [...new Intl.Segmenter(undefined, { granularity: "sentence" }).segment(this.#rest)];
		for (const { segment } of sentences.slice(0, -1)) if (segment.trim() !== "") announce(segment.trim());
		this.#rest = sentences.at(-1)?.segment ?? "";
	}

	end() {
		if (this.#rest.trim() !== "") announce(this.#rest.trim());
		this.#rest = "";
	}
}
