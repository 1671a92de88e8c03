// The editing surface: a story's text as paragraphs that can be typed in, with a selection and colours. The story is
// the truth: the paragraphs follow it. Knows no server and no storage.

import { difference } from "../story/pieces.js";
import { Input } from "./input.js";
import { Paragraphs } from "./paragraphs.js";

export class Surface {
	/** `on`: edit(at, length, text, options), undo(), redo(), caret(), enter(): whether it took a line's end. */
	constructor(element, painter, on) {
		this.element = element;
		this.painter = painter;
		this.on = on;
		this.paragraphs = new Paragraphs(element);
		this.input = new Input(this, on);
		this.remembered = { start: 0, end: 0 }; // the selection, for when the focus is elsewhere
		this.cast = []; // who speaks in it, if it is a scene
		this.isLocked = false;
		// Firefox before 136 does not know "plaintext-only"; what could bring markup in is prevented anyway.
		this.editable = element.contentEditable === "plaintext-only" ? "plaintext-only" : "true";
		element.contentEditable = this.editable;
		element.addEventListener("focus", () => this.#showSelection()); // the browser would begin at the start
		element.addEventListener("click", ({ detail }) => { if (detail === 3) this.#leaveLineEnd(); });
		document.addEventListener("selectionchange", () => this.#noteSelection());
		for (const change of ["scroll", "resize"]) addEventListener(change, () => this.paint(), { passive: true });
	}

	/** What was typed before there was a story. */
	get early() {
		return this.story === undefined ? this.element.innerText.replace(/\n$/, "") : "";
	}

	/** Whether the text is only to be read. */
	lock(isLocked) {
		this.isLocked = isLocked;
		this.element.contentEditable = isLocked ? "false" : this.editable;
		this.element.ariaReadOnly = String(isLocked);
	}

	setCast(cast) {
		this.cast = cast;
		this.paint();
	}

	// ---- the story ----

	/** Show a story from its text's end, and follow its changes. */
	show(story) {
		this.story = story;
		this.painter.clear();
		this.paragraphs.show(story.text);
		this.remembered = { start: story.text.length, end: story.text.length };
		this.paint();
		this.#showSelection();
	}

	/** Show what is in the story, whatever the browser made of it. */
	restore() {
		const { start, end } = this.remembered;
		this.show(this.story);
		this.select(start, end);
	}

	/** A change of the story: {at, removed, put}; a caret just where the machine writes goes along. */
	follow({ at, removed, put, by }) {
		if (this.input.reading) return;
		const { start, end } = this.selected;
		const shift = (place) => {
			if (place < at || (place === at && (by === "writer" || start !== end))) return place;
			return place >= at + removed ? place + put.length - removed : at + put.length;
		};
		this.paragraphs.splice(at, removed, put);
		this.paint();
		this.remembered = { start: shift(start), end: shift(end) };
		this.#showSelection();
	}

	/** The story went elsewhere in its tree: the caret goes to where the text differs. */
	catchUp() {
		const change = difference(this.paragraphs.text, this.story.text);
		this.paragraphs.splice(change.at, change.removed, change.put);
		this.paint();
		this.select(change.at + change.put.length);
		this.keepInView(change.at);
	}

	/** The writer puts a text, or pieces, where the selection is; the caret stands behind it. */
	type(put, { start, end } = this.selected) {
		const length = typeof put === "string" ? put.length : put.reduce((sum, piece) => sum + piece.text.length, 0);
		if (this.isLocked || (length === 0 && start === end)) return; // cut and paste come to a locked text too
		this.on.edit(start, end - start, put, { typing: typeof put === "string" && length < 20 });
		this.select(start + length);
		this.keepInView(start + length);
	}

	/** Colours only what is near the window: ten thousand ranges would slow every key. */
	paint() {
		if (this.story === undefined) return;
		this.element.classList.toggle("empty", this.story.text === "");
		const { blocks, start } = this.paragraphs.between(-innerHeight, 2 * innerHeight);
		this.painter.authors(blocks, start, this.story.pieces, this.cast);
	}

	// ---- places ----

	range(start, end) {
		return this.paragraphs.range(start, end);
	}

	rectAt(offset) {
		return this.paragraphs.rectAt(offset);
	}

	/** How far below the desk's top the line begins that holds a place: a letter's box is lower than its line. */
	lineTop(offset) {
		const { top, height } = this.rectAt(offset);
		const line = parseFloat(getComputedStyle(this.element).lineHeight);
		return this.element.offsetTop + top - Math.max(0, line - height) / 2 - this.element.getBoundingClientRect().top;
	}

	offsetAt(x, y) {
		return this.paragraphs.offsetAt(x, y);
	}

	/** Scroll no more than it takes to see a place above the bar. */
	keepInView(offset) {
		const rect = this.rectAt(offset);
		const bottom = innerHeight - parseFloat(getComputedStyle(document.documentElement).scrollPaddingBottom);
		if (rect.bottom > bottom) scrollBy(0, rect.bottom - bottom);
		else if (rect.top < 0) scrollBy(0, rect.top - rect.height);
	}

	// ---- selection ----

	/** Read when asked for: the browser tells of a change only later, and a key may be quicker. */
	get selected() {
		return (this.#isTypedIn ? this.boundsOf(getSelection()) : null) ?? this.remembered;
	}

	get #isTypedIn() {
		return document.activeElement === this.element && !this.input.composing && this.story !== undefined;
	}

	select(start, end = start) {
		this.remembered = { start, end };
		this.#showSelection();
		this.on.caret();
	}

	focus() {
		this.element.focus({ preventScroll: true });
		this.#showSelection();
	}

	#showSelection() {
		if (!this.#isTypedIn) return;
		const selection = getSelection();
		const now = this.boundsOf(selection);
		const { start, end } = this.remembered;
		if (now?.start === start && now?.end === end) return;
		selection.setBaseAndExtent(...this.paragraphs.place(start), ...this.paragraphs.place(end));
	}

	#noteSelection() {
		const now = this.#isTypedIn ? this.boundsOf(getSelection()) : null;
		if (now === null) return;
		this.remembered = now;
		this.on.caret();
	}

	/** Three clicks select a paragraph, and in Chromium the line's end behind it: the next one would be joined to what is typed. */
	#leaveLineEnd() {
		const { start, end } = this.selected;
		if (start < end && this.story.text[end - 1] === "\n") this.select(start, end - 1);
	}

	/** {start, end} of a range or a selection; null where it is not in the text. */
	boundsOf(where) {
		if (where instanceof Selection) return where.rangeCount === 0 ? null : this.boundsOf(where.getRangeAt(0));
		const start = this.paragraphs.offsetOf(where.startContainer, where.startOffset);
		const end = this.paragraphs.offsetOf(where.endContainer, where.endOffset);
		return start === null || end === null ? null : { start, end };
	}
}
