// The editing surface: a story's text as paragraphs that can be typed in. The story is the truth:
// every input becomes an edit of it, and the paragraphs follow. The browser itself changes the text only
// while an input method composes; what it did is read back. Knows no server and no storage.

import { difference } from "../story/pieces.js";

export class Surface {
	/** `on`: edit(at, length, text, options), undo(), redo(), caret(). */
	constructor(element, painter, on) {
		this.element = element;
		this.painter = painter;
		this.on = on;
		this.lines = []; // {element, text}
		this.remembered = { start: 0, end: 0 }; // the selection, for when the focus is elsewhere
		this.composing = false;
		this.expected = null; // the input event that must not come, because its beforeinput was prevented
		// Firefox before 136 does not know "plaintext-only"; what could bring markup in is prevented anyway.
		this.editable = element.contentEditable === "plaintext-only" ? "plaintext-only" : "true";
		element.contentEditable = this.editable;
		element.addEventListener("beforeinput", (event) => this.#beforeInput(event));
		element.addEventListener("input", (event) => this.#input(event));
		element.addEventListener("compositionstart", () => { this.composing = true; });
		element.addEventListener("focus", () => this.#showSelection()); // the browser would begin at the start
		element.addEventListener("compositionend", () => this.#composed());
		document.addEventListener("selectionchange", () => this.#noteSelection());
		for (const change of ["scroll", "resize"]) addEventListener(change, () => this.#paint(), { passive: true });
	}

	/** What was typed before there was a story. */
	get early() {
		return this.story === undefined ? this.element.innerText.replace(/\n$/, "") : "";
	}

	/** Whether the text is only to be read. */
	lock(isLocked) {
		this.element.contentEditable = isLocked ? "false" : this.editable;
		this.element.ariaReadOnly = String(isLocked);
	}

	/** Show a story from its text's end, and follow its changes. */
	show(story) {
		this.story = story;
		this.lines = [];
		this.element.replaceChildren();
		this.painter.clear();
		this.#insertLines(0, story.text.split("\n"));
		this.remembered = { start: story.text.length, end: story.text.length };
		this.#paint();
		this.#showSelection();
	}

	/** A change of the story: {at, removed, put}; a caret just where the machine writes goes along. */
	follow({ at, removed, put, by }) {
		if (this.reading) return;
		const { start, end } = this.selected;
		const shift = (place) => {
			if (place < at || (place === at && (by === "writer" || start !== end))) return place;
			return place >= at + removed ? place + put.length - removed : at + put.length;
		};
		this.#splice(at, removed, put);
		this.remembered = { start: shift(start), end: shift(end) };
		this.#showSelection();
	}

	/** The story went elsewhere in its tree: the caret goes to where the text differs. */
	catchUp() {
		const change = difference(this.lines.map((line) => line.text).join("\n"), this.story.text);
		this.#splice(change.at, change.removed, change.put);
		this.#paint();
		this.select(change.at + change.put.length);
		this.keepInView(change.at);
	}

	// ---- places ----

	/** The line that holds an offset of the text: its index and where it starts. */
	lineAt(offset) {
		let start = 0;
		for (let index = 0; ; index += 1) {
			const next = start + this.lines[index].text.length + 1;
			if (offset < next || index === this.lines.length - 1) return { index, start };
			start = next;
		}
	}

	/** @returns {[Node, number]} */
	place(offset) {
		const { index, start } = this.lineAt(offset);
		const { element, text } = this.lines[index];
		return text === "" ? [element, 0] : [element.firstChild, Math.min(offset - start, text.length)];
	}

	range(start, end) {
		const range = document.createRange();
		range.setStart(...this.place(start));
		range.setEnd(...this.place(end));
		return range;
	}

	/** The offset of a place in the page; null outside the text. */
	offsetOf(node, offset) {
		if (!this.element.contains(node)) return null;
		if (node === this.element) return this.#startOf(offset);
		let inside = node.nodeType === Node.TEXT_NODE ? offset : lengthBefore(node, offset);
		let block = node;
		for (; block.parentNode !== this.element; block = block.parentNode) {
			for (let other = block.previousSibling; other !== null; other = other.previousSibling) {
				inside += other.textContent.length;
			}
		}
		return this.#startOf([...this.element.childNodes].indexOf(block)) + inside;
	}

	#startOf(index) {
		let start = 0;
		for (const line of this.lines.slice(0, index)) start += line.text.length + 1;
		return Math.min(start, Math.max(0, this.story.text.length));
	}

	/** The offset of the character under a point; null where there is none. */
	offsetAt(x, y) {
		const hit = caretAt(x, y);
		const offset = hit === null ? null : this.offsetOf(...hit);
		if (offset === null) return null;
		return [offset, offset - 1].find((at) => at >= 0 && this.#holds(at, x, y)) ?? null;
	}

	#holds(at, x, y) {
		const rects = [...this.range(at, at + 1).getClientRects()];
		return rects.some((rect) => x >= rect.left - 1 && x <= rect.right + 1 && y >= rect.top && y <= rect.bottom);
	}

	/** Where the text ends on the screen at an offset: a rectangle as high as a line. */
	rectAt(offset) {
		const [node, at] = this.place(offset);
		if (node instanceof Element) return node.getBoundingClientRect(); // an empty line
		const range = document.createRange();
		range.setStart(node, Math.max(0, at - 1));
		range.setEnd(node, at);
		const rect = [...range.getClientRects()].at(-1) ?? node.parentElement.getBoundingClientRect();
		return new DOMRect(at === 0 ? rect.left : rect.right, rect.top, 0, rect.height);
	}

	// ---- selection ----

	/** Read when asked for: the browser tells of a change only later, and a key may be quicker. */
	get selected() {
		const isHere = document.activeElement === this.element && !this.composing;
		return (isHere ? this.#read(getSelection()) : null) ?? this.remembered;
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
		if (document.activeElement !== this.element || this.composing || this.story === undefined) return;
		const selection = getSelection();
		const now = this.#read(selection);
		const { start, end } = this.remembered;
		if (now?.start === start && now?.end === end) return;
		selection.setBaseAndExtent(...this.place(start), ...this.place(end));
	}

	#read(selection) {
		return selection.rangeCount === 0 ? null : this.#boundsOf(selection.getRangeAt(0));
	}

	#boundsOf({ startContainer, startOffset, endContainer, endOffset }) {
		const start = this.offsetOf(startContainer, startOffset);
		const end = this.offsetOf(endContainer, endOffset);
		return start === null || end === null ? null : { start, end };
	}

	#noteSelection() {
		if (document.activeElement !== this.element || this.composing || this.story === undefined) return;
		const now = this.#read(getSelection());
		if (now === null) return;
		this.remembered = now;
		this.on.caret();
	}

	// ---- input ----

	#beforeInput(event) {
		if (this.story === undefined) return; // the page is not there yet: what is typed waits in the paragraphs
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
		if (text === null) return; // colours and weights are not the text's
		const { start, end } = this.#target(event);
		if (text === "" && start === end) this.#erase(event.inputType);
		else this.type(text, { start, end });
	}

	/** Erase next to the cursor: the browser's own selection knows characters, words and lines. */
	#erase(inputType) {
		const [, amount, direction] = /^delete(\w+?)(Backward|Forward)$/.exec(inputType) ?? [];
		if (amount === undefined) return;
		const step = { Content: "character", Word: "word" }[amount] ?? "lineboundary";
		const selection = getSelection();
		selection.modify("extend", direction.toLowerCase(), step);
		this.type("", this.#read(selection) ?? this.selected);
	}

	/** The browser changed the paragraphs by itself. Some of Android's do although they were asked not to:
	 * the edit is in the story already, so the paragraphs are put back. */
	#input({ inputType }) {
		if (this.story === undefined) return;
		if (inputType !== this.expected || this.composing) return this.#readBack();
		this.expected = null;
		const { start, end } = this.remembered;
		this.show(this.story);
		this.select(start, end);
	}

	#target(event) {
		const [range] = event.getTargetRanges();
		return (range && this.#boundsOf(range)) ?? this.selected;
	}

	/** The writer puts a text, or pieces, where the selection is; the caret stands behind it. */
	type(put, { start, end } = this.selected) {
		const length = typeof put === "string" ? put.length : put.reduce((sum, piece) => sum + piece.text.length, 0);
		if (length === 0 && start === end) return;
		this.on.edit(start, end - start, put, { typing: typeof put === "string" && length < 20 });
		this.select(start + length);
		this.keepInView(start + length);
	}

	/** Scroll no more than it takes to see a place above the bar. */
	keepInView(offset) {
		const rect = this.rectAt(offset);
		const bottom = innerHeight - parseFloat(getComputedStyle(document.documentElement).scrollPaddingBottom);
		if (rect.bottom > bottom) scrollBy(0, rect.bottom - bottom);
		else if (rect.top < 0) scrollBy(0, rect.top - rect.height);
	}

	#composed() {
		this.composing = false;
		if (this.story === undefined) return;
		this.#readBack();
	}

	/** What the browser changed by itself becomes an edit. While an input method composes, only colours
	 * may change: the paragraphs are its own, and are put in order when it is done. */
	#readBack() {
		const blocks = [...this.element.childNodes];
		const change = difference(this.story.text, blocks.map((block) => block.textContent).join("\n"));
		if (change.removed > 0 || change.put !== "") {
			this.reading = true;
			this.on.edit(change.at, change.removed, change.put, { typing: true });
			this.reading = false;
		}
		const inOrder = blocks.length === this.lines.length && blocks.every((block, index) => block === this.lines[index].element);
		if (inOrder) for (const line of this.lines) line.text = line.element.textContent;
		if (this.composing) return this.#paint();
		const { start, end } = this.#read(getSelection()) ?? this.selected;
		if (!inOrder) this.show(this.story);
		else tidy(this.lines[this.lineAt(end).index]);
		this.#paint();
		this.select(start, end);
	}

	// ---- paragraphs ----

	#insertLines(index, texts) {
		const lines = texts.map((text) => ({ element: paragraph(text), text }));
		const fragment = document.createDocumentFragment();
		fragment.append(...lines.map((line) => line.element));
		this.element.insertBefore(fragment, this.lines[index]?.element ?? null);
		this.lines = [...this.lines.slice(0, index), ...lines, ...this.lines.slice(index)];
	}

	#splice(at, removed, put) {
		const first = this.lineAt(at);
		const last = this.lineAt(at + removed);
		if (first.index === last.index && rewriteAt(this.lines[first.index], at - first.start, removed, put)) return this.#paint();
		const before = this.lines[first.index].text.slice(0, at - first.start);
		const after = this.lines[last.index].text.slice(at + removed - last.start);
		const texts = (before + put + after).split("\n");
		for (const line of this.lines.splice(first.index + 1, last.index - first.index)) line.element.remove();
		rewrite(this.lines[first.index], texts[0]);
		if (texts.length > 1) this.#insertLines(first.index + 1, texts.slice(1));
		this.#paint();
	}

	/** Colours only what is near the window: ten thousand ranges would slow every key. */
	#paint() {
		if (this.lines.length === 0 || this.story === undefined) return;
		this.element.classList.toggle("empty", this.story.text === "");
		const from = this.#firstLine((rect) => rect.bottom > -innerHeight);
		const to = this.#firstLine((rect) => rect.top > 2 * innerHeight);
		this.painter.authors(this.lines.slice(from, to), this.#startOf(from), this.story.pieces);
	}

	/** The first line whose rectangle is so, by halving: they lie in order. */
	#firstLine(isSo) {
		let [low, high] = [0, this.lines.length];
		while (low < high) {
			const middle = (low + high) >> 1;
			if (isSo(this.lines[middle].element.getBoundingClientRect())) high = middle;
			else low = middle + 1;
		}
		return low;
	}
}

function paragraph(text) {
	const element = document.createElement("p");
	element.dir = "auto";
	fill(element, text);
	return element;
}

/** An empty line needs something to stand on. */
function fill(element, text) {
	element.replaceChildren(text === "" ? document.createElement("br") : text);
}

/** Change a line that stays one, and whose place is known; gives whether it was such a change. */
function rewriteAt(line, at, removed, put) {
	const node = line.element.firstChild;
	const isEmptied = line.text.length - removed + put.length === 0;
	if (line.text === "" || isEmptied || put.includes("\n") || !(node instanceof Text)) return false;
	node.replaceData(at, removed, put);
	line.text = line.text.slice(0, at) + put + line.text.slice(at + removed);
	return true;
}

/** Change only what differs, so that selections in the rest of the line stay. */
function rewrite(line, text) {
	if (line.text === text) return;
	const node = line.element.firstChild;
	if (line.text === "" || text === "" || node?.nodeType !== Node.TEXT_NODE) {
		fill(line.element, text);
	} else {
		const { at, removed, put } = difference(line.text, text);
		node.replaceData(at, removed, put);
	}
	line.text = text;
}

/** An input method may leave several text nodes, or an empty one. */
function tidy({ element, text }) {
	const isTidy = element.childNodes.length === 1 && (text === "") === (element.firstChild.nodeName === "BR");
	if (!isTidy) fill(element, text);
}

/** The place in the page under a point, or null.
 * @returns {[Node, number] | null} */
function caretAt(x, y) {
	if (document.caretPositionFromPoint) {
		const place = document.caretPositionFromPoint(x, y);
		return place && [place.offsetNode, place.offset];
	}
	const range = document.caretRangeFromPoint(x, y); // Safari before 26.2
	return range && [range.startContainer, range.startOffset];
}

function lengthBefore(node, offset) {
	return [...node.childNodes].slice(0, offset).reduce((sum, child) => sum + child.textContent.length, 0);
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
