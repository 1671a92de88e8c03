// The bar: what can be done now, how it goes, and which alternative the text holds.

import { find } from "../frame/element.js";
import { KEYS, readable } from "../frame/keys.js";
import { has, number, say, waiting } from "../frame/language.js";

/** Show what the story and the machine's pen allow. */
export function refresh(story, writing) {
	const { nodes, index } = story.alternatives();
	const go = find("#go");
	go.dataset.do = writing.busy ? "stop" : "continue";
	go.firstElementChild.textContent = say(`do.${go.dataset.do}`);
	go.lastElementChild.textContent = readable(KEYS[go.dataset.do][0]);
	enable("retry", index >= 0 && !writing.busy);
	enable("undo", story.head !== story.root);
	enable("redo", story.next() !== undefined);
	find("#ways").hidden = nodes.length < 2;
	find("#way").textContent = `${index + 1} / ${nodes.length}`;
}

function enable(action, isPossible) {
	const button = find(`#bar [data-do="${action}"]`);
	if (!isPossible && document.activeElement === button) find("#go").focus(); // focus is never lost
	button.disabled = !isPossible;
}

export function status(text) {
	find("#status").textContent = text;
}

/** How a run goes, in a few words. */
export function progress({ phase, run, ahead, seconds, error }) {
	if (has(`wait.${phase}`)) return waiting({ phase, seconds, error });
	const key = `status.${phase === "queue" && ahead === 0 ? "next" : phase}`;
	const speed = run.speed === null ? "…" : number(run.speed);
	return has(key) ? say(key, { tokens: number(run.tokens), speed, ahead, seconds }) : "";
}
