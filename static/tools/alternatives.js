// What a word could have been: a short list with bars beside the word; choosing one starts a branch.

import { find, make } from "../frame/element.js";
import { number, say } from "../frame/language.js";

const REST_MS = 300; // the pointer rests on a word this long before the list comes

export class Alternatives {
	/** `lookUp(offset)` gives {token, start, end, …} or null; `choose(found, choice)` is told. */
	constructor(surface, painter, lookUp, choose) {
		this.surface = surface;
		this.painter = painter;
		this.lookUp = lookUp;
		this.choose = choose;
		this.panel = find("#word");
		this.found = null;
		surface.element.addEventListener("pointermove", (event) => this.#hover(event));
		surface.element.addEventListener("pointerup", ({ pointerType, clientX, clientY }) => {
			if (pointerType !== "mouse") this.#lookAt(this.surface.offsetAt(clientX, clientY));
		});
		surface.element.addEventListener("pointerleave", (event) => this.#leave(event));
		this.panel.addEventListener("pointerenter", () => clearTimeout(this.timer));
		this.panel.addEventListener("pointerleave", (event) => this.#leave(event));
		this.panel.addEventListener("keydown", (event) => this.#key(event));
		addEventListener("scroll", () => this.#scrolled(), { passive: true });
	}

	get isOpen() {
		return !this.panel.hidden;
	}

	/** The text changed: the list stays while the word does, as where the machine writes behind it. */
	hear({ type, at = null, by }) {
		if (!this.isOpen || (at === null && !["moved", "opened"].includes(type))) return;
		if (by !== "machine" || at < this.found.end) this.hide();
	}

	#scrolled() {
		if (!this.isOpen) return;
		const rect = this.#rect();
		if (rect.bottom < 0 || rect.top > innerHeight) this.hide();
		else this.#place(rect);
	}

	#rect() {
		const range = this.surface.range(this.found.start, this.found.end);
		return [...range.getClientRects()].at(-1) ?? range.getBoundingClientRect();
	}

	#hover(event) {
		clearTimeout(this.timer);
		if (event.pointerType !== "mouse" || event.buttons !== 0) return;
		const { clientX, clientY } = event;
		this.timer = setTimeout(() => this.#lookAt(this.surface.offsetAt(clientX, clientY)), REST_MS);
	}

	#leave({ pointerType }) {
		if (pointerType !== "mouse") return; // a finger leaves whenever it is lifted
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.hide(), REST_MS);
	}

	#lookAt(offset) {
		const found = offset === null ? null : this.lookUp(offset);
		if (found === null) this.hide();
		else if (found.start !== this.found?.start || !this.isOpen) this.#show(found);
	}

	/** The list for the word at the cursor, with the keyboard in it. */
	open() {
		const { start } = this.surface.selected;
		const found = this.lookUp(start) ?? (start > 0 ? this.lookUp(start - 1) : null);
		if (found === null) return false;
		this.#show(found);
		this.panel.querySelector("button").focus();
		return true;
	}

	hide() {
		if (!this.isOpen) return;
		const hadFocus = this.panel.contains(document.activeElement);
		this.panel.hidden = true;
		this.found = null;
		this.painter.set("word", []);
		if (hadFocus) this.surface.focus();
	}

	#show(found) {
		this.found = found;
		this.painter.set("word", [this.surface.range(found.start, found.end)]);
		const { text } = this.surface.story;
		this.choices = choicesOf(found, text);
		const title = say("word.title", { text: visible(text.slice(found.start, found.end)) });
		this.panel.replaceChildren(make("p", {}, title), ...this.choices.map((choice, index) => this.#row(choice, index)));
		this.panel.ariaLabel = title;
		this.panel.hidden = false;
		this.#place(this.#rect());
	}

	#place(rect) {
		const { style } = this.panel;
		const { offsetWidth: width, offsetHeight: height } = this.panel;
		const bar = find("#bar").getBoundingClientRect().top;
		const below = rect.bottom + 6;
		style.left = `${Math.max(8, Math.min(rect.left - 12, innerWidth - width - 8))}px`;
		style.top = `${below + height < bar ? below : Math.max(8, rect.top - height - 6)}px`;
	}

	#row(choice, index) {
		const { text, logprob, isDrawn } = choice;
		const percent = logprob === null ? null : Math.exp(logprob) * 100;
		const shown = percent === null ? "" : percent < 1 ? "< 1" : number(percent);
		const button = make("button", {
			class: isDrawn ? "drawn" : null, "aria-current": isDrawn ? "true" : null,
			"aria-label": say("word.choose", { text: visible(text), percent: shown }),
			on: { click: () => this.#take(choice) },
		}, make("kbd", {}, index < 9 ? String(index + 1) : ""), make("span", { dir: "auto" }, visible(text)), make("small", {}, shown === "" ? "" : `${shown} %`));
		button.style.setProperty("--share", `${percent ?? 0}%`);
		return button;
	}

	#take(choice) {
		const { found } = this;
		this.hide();
		this.surface.focus();
		if (!choice.isDrawn) this.choose(found, choice);
	}

	#key(event) {
		const choice = this.choices[Number(event.key) - 1];
		if (choice !== undefined && !event.ctrlKey && !event.altKey && !event.metaKey) {
			event.preventDefault();
			return this.#take(choice);
		}
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (step === undefined) return;
		event.preventDefault();
		const buttons = [...this.panel.querySelectorAll("button")];
		buttons.at((buttons.indexOf(document.activeElement) + step) % buttons.length).focus();
	}
}

/** The alternatives by falling odds, the written one among them. */
function choicesOf({ token, start, end }, text) {
	const drawn = text.slice(start, end);
	const choices = token.top.map((choice) => ({ ...choice, isDrawn: choice.text === drawn }));
	if (!choices.some((choice) => choice.isDrawn)) choices.push({ text: drawn, logprob: token.logprob, isDrawn: true });
	return choices.sort((a, b) => (b.logprob ?? -Infinity) - (a.logprob ?? -Infinity));
}

/** A token as people can read it: spaces inside stay, line breaks and lone spaces get a sign. */
function visible(text) {
	const plain = text.replaceAll("\n", "↵").replaceAll("\t", "⇥");
	return plain.trim() === "" ? plain.replaceAll(" ", "␣") : plain.trim();
}
