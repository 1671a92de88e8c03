// A text as paragraphs in the page: which character stands where, and changes that touch as little as they can.
// A paragraph too long to be laid out anew with every key is several blocks, each of which but the first `joins` the
// one before it: no line break of the text stands between them. Knows no story.

import { difference } from "../story/pieces.js";

const LONGEST = 8192; // characters of one block: twice as many take a browser half of a frame
const CUT = 4096; // where a longer one is cut, or a little before
const SHORTEST = 1024; // of a block that others join

export class Paragraphs {
	constructor(element) {
		this.element = element;
		this.blocks = []; // {element, text, joins}; `text` is the page's own string: a slice of the story's would keep all of that
	}

	get text() {
		return this.blocks.map(({ text, joins }, index) => (joins || index === 0 ? text : `\n${text}`)).join("");
	}

	show(text) {
		this.blocks = blocksOf(text);
		this.element.replaceChildren(...this.blocks.map(({ element }) => element));
	}

	// ---- places ----

	/** The block that holds an offset of the text: its index and where it starts. */
	blockAt(offset) {
		let start = 0;
		for (let index = 0; ; index += 1) {
			const next = start + this.blocks[index].text.length + this.#gapAfter(index);
			if (offset < next || index === this.blocks.length - 1) return { index, start };
			start = next;
		}
	}

	startOf(index) {
		let start = 0;
		for (let before = 0; before < Math.min(index, this.blocks.length); before += 1) start += this.blocks[before].text.length + this.#gapAfter(before);
		return start;
	}

	/** Whether a line break of the text stands behind a block. */
	#gapAfter(index) {
		const following = this.blocks[index + 1];
		return following === undefined || following.joins ? 0 : 1;
	}

	/** @returns {[Node, number]} */
	place(offset) {
		const { index, start } = this.blockAt(offset);
		const { element, text } = this.blocks[index];
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
		if (node === this.element) return this.startOf(offset);
		let inside = node.nodeType === Node.TEXT_NODE ? offset : lengthBefore(node, offset);
		let block = node;
		for (; block.parentNode !== this.element; block = block.parentNode) {
			for (let other = block.previousSibling; other !== null; other = other.previousSibling) {
				inside += other.textContent.length;
			}
		}
		return this.startOf([...this.element.childNodes].indexOf(block)) + inside;
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

	/** The blocks between two heights of the window, and where their text starts. They lie in order: by halving. */
	between(top, bottom) {
		const first = (isSo) => {
			let [low, high] = [0, this.blocks.length];
			while (low < high) {
				const middle = (low + high) >> 1;
				if (isSo(this.blocks[middle].element.getBoundingClientRect())) high = middle;
				else low = middle + 1;
			}
			return low;
		};
		const from = first((rect) => rect.bottom > top);
		return { blocks: this.blocks.slice(from, first((rect) => rect.top > bottom)), start: this.startOf(from) };
	}

	// ---- changes ----

	/** `removed` characters at `at` give way to others. */
	splice(at, removed, put) {
		const first = this.blockAt(at);
		const last = this.blockAt(at + removed);
		if (first.index === last.index && rewriteAt(this.blocks[first.index], at - first.start, removed, put)) return this.#settle(first.index);
		const before = this.blocks[first.index].text.slice(0, at - first.start);
		const after = this.blocks[last.index].text.slice(at + removed - last.start);
		const [head, ...rest] = blocksOf(before + put + after);
		for (const block of this.blocks.splice(first.index + 1, last.index - first.index)) block.element.remove();
		rewrite(this.blocks[first.index], head.text);
		this.#insert(first.index + 1, rest);
		this.#settle(first.index + rest.length);
		if (rest.length > 0) this.#settle(first.index);
	}

	#insert(index, blocks) {
		const fragment = document.createDocumentFragment();
		fragment.append(...blocks.map((block) => block.element));
		this.element.insertBefore(fragment, this.blocks[index]?.element ?? null);
		this.blocks = [...this.blocks.slice(0, index), ...blocks, ...this.blocks.slice(index)];
	}

	/** A block that has become too long, or too short for one of several, is cut anew with those around it. */
	#settle(index) {
		const { text, joins } = this.blocks[index];
		const isOneOfSeveral = joins || this.blocks[index + 1]?.joins;
		if (text.length <= LONGEST && !(isOneOfSeveral && text.length < SHORTEST)) return;
		const from = joins ? index - 1 : index;
		const until = this.blocks[index + 1]?.joins ? index + 2 : index + 1;
		const old = this.blocks.slice(from, until);
		const blocks = blocksOf(old.map((block) => block.text).join(""));
		blocks[0] = blockOf(blocks[0].text, old[0].joins);
		for (const block of old) block.element.remove();
		this.blocks.splice(from, old.length);
		this.#insert(from, blocks);
	}

	// ---- what the browser did by itself ----

	/** The text that stands in the page now, whoever put it there. */
	read() {
		const joining = new Set(this.blocks.filter(({ joins }) => joins).map(({ element }) => element));
		return [...this.element.childNodes].map((node, index) => (index === 0 || joining.has(node) ? "" : "\n") + node.textContent).join("");
	}

	/** Take over what stands in the blocks; gives whether they are the ones that were there. */
	adopt() {
		const nodes = [...this.element.childNodes];
		const isInOrder = nodes.length === this.blocks.length && nodes.every((node, index) => node === this.blocks[index].element);
		if (isInOrder) for (const block of this.blocks) block.text = block.element.textContent;
		return isInOrder;
	}

	/** An input method may leave several text nodes at an offset, or an empty one. */
	tidy(offset) {
		const { element, text } = this.blocks[this.blockAt(offset).index];
		const isTidy = element.childNodes.length === 1 && (text === "") === (element.firstChild.nodeName === "BR");
		if (!isTidy) fill(element, text);
	}
}

function blocksOf(text) {
	return text.split("\n").flatMap((line) => cut(line).map((part, index) => blockOf(part, index > 0)));
}

function blockOf(text, joins) {
	const element = document.createElement("p");
	element.dir = "auto";
	element.classList.toggle("joins", joins);
	fill(element, text);
	return { element, text: element.textContent, joins };
}

/** A paragraph in parts that are quick to lay out: cut behind a sentence if there is one, else between words. */
export function cut(text) {
	const parts = [];
	let rest = text;
	while (rest.length > LONGEST) {
		const at = cutIn(rest.slice(0, CUT + 1));
		parts.push(rest.slice(0, at));
		rest = rest.slice(at);
	}
	return [...parts, rest];
}

const isInCharacter = /^(?:\p{M}|[\u200d\udc00-\udfff])/u;

function cutIn(text) {
	for (const end of [/^[^]*[.!?…]["'”’)\]]*\s(?=\S)/u, /^[^]*[。！？…][”’」』）]*/u, /^[^]*\s(?=\S)/u]) {
		const length = end.exec(text)?.[0].length ?? 0;
		if (length > SHORTEST) return Math.min(length, CUT);
	}
	let at = CUT;
	while (at > SHORTEST && (isInCharacter.test(text.slice(at)) || text[at - 1] === "\u200d")) at -= 1;
	return at;
}

/** An empty line needs something to stand on. */
function fill(element, text) {
	element.replaceChildren(text === "" ? document.createElement("br") : text);
}

/** Change a block that stays one, and whose place is known; gives whether it was such a change. */
function rewriteAt(block, at, removed, put) {
	const node = block.element.firstChild;
	const isEmptied = block.text.length - removed + put.length === 0;
	if (block.text === "" || isEmptied || put.includes("\n") || !(node instanceof Text)) return false;
	node.replaceData(at, removed, put);
	block.text = node.data;
	return true;
}

/** Change only what differs, so that selections in the rest of the block stay. */
function rewrite(block, text) {
	if (block.text === text) return;
	const node = block.element.firstChild;
	if (block.text === "" || text === "" || node?.nodeType !== Node.TEXT_NODE) {
		fill(block.element, text);
	} else {
		const { at, removed, put } = difference(block.text, text);
		node.replaceData(at, removed, put);
	}
	block.text = block.element.textContent;
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
