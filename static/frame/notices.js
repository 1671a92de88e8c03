// What the page has to tell: lines above the text that stay until they are settled, and a voice for
// those who listen. Text stays text.

import { button, cross, find, make } from "./element.js";
import { say } from "./language.js";

const shown = new Map();

/** Show a line under a name, in place of the one of that name. `actions`: [[label, task], …]. */
export function notify(name, text, actions = []) {
	const wording = [text, ...actions.map(([label]) => label)].join("\n");
	const before = shown.get(name);
	if (before?.wording === wording) { // it is read aloud once; its buttons do what is wanted now
		before.actions = actions;
		return;
	}
	dismiss(name);
	const notice = { wording, actions, line: null };
	const buttons = actions.map(([label], index) =>
		button(label, () => { dismiss(name); notice.actions[index][1](); }));
	notice.line = make("div", { class: "notice", "data-notice": name }, make("span", {}, text), ...buttons, cross(say("do.close"), () => dismiss(name)));
	shown.set(name, notice);
	find("#notices").append(notice.line);
}

export function dismiss(name) {
	const line = shown.get(name)?.line;
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
