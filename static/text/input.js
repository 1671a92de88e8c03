// What is typed: every input of the browser becomes an edit of the story. The browser itself changes the text only
// while an input method composes; what it did is read back. Knows no story but through the surface.

import { difference } from "../story/pieces.js";

export class Input {
	/** `on`: edit(at, length, text, options), undo(), redo(), enter(): whether it took a line's end. */
	constructor(surface, on) {
		this.surface = surface;
		this.on = on;
		this.composing = false;
		this.reading = false; // back what the browser did: the paragraphs are as they should be
		this.isShifted = false;
		this.expected = null; // the input event that must not come, because its beforeinput was prevented
		const { element } = surface;
		element.addEventListener("keydown", ({ shiftKey }) => { this.isShifted = shiftKey; }); // of which the input itself does not tell
		element.addEventListener("beforeinput", (event) => this.#before(event));
		element.addEventListener("input", (event) => this.#after(event));
		element.addEventListener("compositionstart", () => this.#compose());
		element.addEventListener("compositionend", () => this.#composed());
	}

	#before(event) {
		if (this.surface.story === undefined) return; // the page is not there yet: what is typed waits in the paragraphs
		this.expected = null;
		if (event.isComposing || event.inputType === "insertCompositionText" || !event.cancelable) return;
		if (event.inputType.startsWith("history")) {
			event.preventDefault();
			return event.inputType === "historyUndo" ? this.on.undo() : this.on.redo();
		}
		const text = insertion(event);
		if (text === null && !event.inputType.startsWith("format")) return; // the browser does it, and #readBack sees what it did
		event.preventDefault();
		this.expected = event.inputType;
		setTimeout(() => { this.expected = null; }); // a later one is a program's, as dictation and spelling have them
		if (text === "\n" && !this.isShifted && this.on.enter()) return;
		if (text === null) return; // colours and weights are not the text's
		const { start, end } = this.#target(event);
		if (text === "" && start === end) this.#erase(event.inputType);
		else this.surface.type(text, { start, end });
	}

	#target(event) {
		const [range] = event.getTargetRanges();
		return (range && this.surface.boundsOf(range)) ?? this.surface.selected;
	}

	/** Erase next to the cursor: the browser's own selection knows characters, words and lines. */
	#erase(inputType) {
		const [, amount, direction] = /^delete(\w+?)(Backward|Forward)$/.exec(inputType) ?? [];
		if (amount === undefined) return;
		const step = { Content: "character", Word: "word" }[amount] ?? "lineboundary";
		const selection = getSelection();
		let bounds = this.surface.selected;
		for (let tries = 0; tries < 2 && bounds.start === bounds.end; tries += 1) { // the first may only cross to another block
			selection.modify("extend", direction.toLowerCase(), step);
			bounds = this.surface.boundsOf(selection.getRangeAt(0)) ?? bounds;
		}
		this.surface.type("", bounds);
	}

	/** The browser changed the paragraphs by itself. Some of Android's do although they were asked not to:
	 * the edit is in the story already, so the paragraphs are put back. */
	#after({ inputType }) {
		if (this.surface.story === undefined) return;
		if (inputType !== this.expected || this.composing) return this.#readBack();
		this.expected = null;
		this.surface.restore();
	}

	/** What is selected gives way first: the browser would make one paragraph of several while text arrives in them. */
	#compose() {
		if (this.surface.story !== undefined) this.surface.type("");
		this.composing = true;
	}

	#composed() {
		this.composing = false;
		if (this.surface.story !== undefined) this.#readBack();
	}

	/** What the browser changed by itself becomes an edit. While an input method composes, only colours
	 * may change: the paragraphs are its own, and are put in order when it is done. */
	#readBack() {
		const { surface } = this;
		const change = difference(surface.story.text, surface.paragraphs.read());
		if (change.removed > 0 || change.put !== "") {
			this.reading = true;
			this.on.edit(change.at, change.removed, change.put, { typing: true });
			this.reading = false;
		}
		const isInOrder = surface.paragraphs.adopt();
		if (this.composing) return surface.paint();
		const { start, end } = surface.boundsOf(getSelection()) ?? surface.selected;
		if (!isInOrder) surface.show(surface.story);
		else surface.paragraphs.tidy(end);
		surface.paint();
		surface.select(start, end);
	}
}

/** The text that an input puts in ("" for a deletion); null for what only the browser can do. */
function insertion(event) {
	const { inputType: type } = event;
	if (type === "insertLineBreak" || type === "insertParagraph") return "\n";
	if (type.startsWith("delete")) return "";
	if (type.startsWith("format")) return null;
	const text = event.data ?? event.dataTransfer?.getData("text/plain") ?? null;
	return text?.replace(/\r\n?/g, "\n") ?? null;
}
