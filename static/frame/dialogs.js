// The dialogs: the key, the keyboard's list, a name. Focus goes in, and back to where it was.

import { cross, find, make } from "./element.js";
import { KEYS, readable } from "./keys.js";
import { useKey } from "../machine/server.js";
import { say } from "./language.js";

/** Show a dialog; `fill(close)` gives its contents. Resolves when it closes, with what close was given. */
export function show(title, fill) {
	const dialog = find("#dialog");
	const before = /** @type {HTMLElement} */ (document.activeElement);
	if (dialog.open) dialog.close();
	return new Promise((resolve) => {
		let answer = null;
		let isWarned = false;
		const close = (value = null) => { answer = value; dialog.close(); };
		const leave = (event) => {
			const isChanged = [...dialog.querySelectorAll("textarea")].some((field) => field.value !== field.defaultValue);
			if (isWarned || !isChanged) return close();
			event.preventDefault();
			isWarned = true;
			const go = dialog.querySelector(".go");
			go.before(make("p", { role: "alert" }, say("dialog.unsaved")));
			go.scrollIntoView();
		};
		dialog.replaceChildren(make("div", { class: "head" }, make("h2", { id: "dialog-title" }, title), cross(say("do.close"), leave)), ...fill(close));
		dialog.setAttribute("aria-labelledby", "dialog-title");
		const isForm = dialog.querySelector("form") !== null; // a click beside it would throw away what was typed, as selecting it by mouse may
		dialog.oncancel = leave;
		dialog.onclick = (event) => { if (event.target === dialog && !isForm) close(); };
		dialog.onclose = () => {
			if (dialog.open) return; // another one took its place before this was told
			dialog.replaceChildren();
			if (document.contains(before)) before.focus();
			resolve(answer);
		};
		dialog.showModal();
		dialog.querySelector("[autofocus], input, .body button")?.focus();
	});
}

/** A few fields and OK, which gives `answer()`. */
function ask(title, answer, ...fields) {
	return show(title, (close) => {
		const submit = (event) => {
			event.preventDefault();
			close(answer());
		};
		return [make("form", { class: "body", on: { submit } }, ...fields, make("button", { class: "go" }, say("do.ok")))];
	});
}

/** `isWrong`: one was given, and the server does not know it. */
export async function askForKey(isWrong = false) {
	const key = make("input", { id: "key", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "key-why" });
	const keep = make("input", { type: "checkbox" });
	const isGiven = await ask(say("key.title"), () => true,
		make("p", { id: "key-why", role: isWrong ? "alert" : null }, say(isWrong ? "why.wrongKey" : "key.why")), make("label", { for: "key" }, say("key.label")), key, make("label", {}, keep, " ", say("key.remember")));
	if (isGiven) useKey(key.value, keep.checked);
	return isGiven;
}

export function askForName(name, title = say("do.rename")) {
	const input = make("input", { id: "name", value: name, maxlength: 200 });
	return ask(title, () => input.value.trim(), make("label", { for: "name" }, say("story.name")), input);
}

/** What the model is told besides the text: {memory, world, note, noteDepth}. */
export function askForMemory({ memory, world, note, noteDepth }) {
	const field = (id, value, rows) => make("textarea", { id, rows, autofocus: id === "memory", "aria-describedby": `${id}-why` }, value);
	const [first, called, aside] = [field("memory", memory, 4), field("world", world, 4), field("note", note, 2)];
	const depth = make("input", { id: "note-depth", type: "number", min: 1, max: 50, value: noteDepth, required: true });
	const about = (id) => [make("label", { for: id }, say(`${id}.label`)), make("p", { id: `${id}-why` }, say(`${id}.why`))];
	return ask(say("do.memory"), () => ({ memory: first.value, world: called.value, note: aside.value, noteDepth: depth.valueAsNumber }),
		...about("memory"), first, ...about("world"), called, ...about("note"), aside,
		make("label", { class: "depth" }, `${say("note.depth")} `, depth));
}

/** A link to copy; gives whether it is to be copied. */
export function offerLink(link) {
	return show(say("do.share"), (close) => {
		const field = make("input", { id: "link", readonly: true, value: link, "aria-label": say("do.share"), on: { focus: () => field.select() } });
		const copy = make("button", { class: "go", autofocus: true, on: { click: () => close(true) } }, say("share.copy"));
		return [make("div", { class: "body" }, make("p", {}, say("share.why")), field, make("p", {}), copy)];
	});
}

/** What there is to read in a dialog; the keyboard scrolls it. */
export function reading(...children) {
	return make("div", { class: "body", tabindex: 0, autofocus: true, role: "region", "aria-labelledby": "dialog-title" }, ...children);
}

export function help() {
	return show(say("help.title"), () => {
		const rows = Object.entries(KEYS).map(([action, combinations]) => {
			const keys = combinations.flatMap((combination) => [" ", make("kbd", {}, readable(combination))]);
			return make("tr", {}, make("th", { scope: "row" }, say(`do.${action}`)), make("td", {}, ...keys));
		});
		return [reading(make("p", {}, say("help.text")), make("table", { class: "keys" }, make("tbody", {}, ...rows)))];
	});
}
