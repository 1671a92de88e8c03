// Colours over the text without touching it: the browser's highlight registry. Knows places, not reasons.

import { SHADES, speakerOf } from "../story/scene.js";

const SHADE = Array.from({ length: SHADES }, (_, index) => `shade-${index + 1}`);
const LAYERS = ["machine", ...SHADE, "name", "fresh", "word", "heat-1", "heat-2", "heat-3", "heat-4", "heat-5", "loop"];

export class Painter {
	constructor() {
		this.supported = typeof Highlight !== "undefined";
		if (!this.supported) return;
		this.layers = new Map(LAYERS.map((name) => [name, new Highlight()]));
		for (const [name, layer] of this.layers) {
			layer.priority = CSS.highlights.size; // the later ones paint over the earlier
			CSS.highlights.set(name, layer);
		}
	}

	clear() {
		for (const layer of this.layers?.values() ?? []) layer.clear();
	}

	/** The machine's words in these blocks, and nowhere else; the first starts at `start` in the text. What one of
	 * the cast says has a shade of its own, the name with it. */
	authors(blocks, start, pieces, cast) {
		if (!this.supported) return;
		for (const name of ["machine", "name", ...SHADE]) this.layers.get(name).clear();
		const stretchesIn = walk(pieces, start);
		let blockStart = start;
		let speaker = -1;
		for (const [index, { element, text, joins }] of blocks.entries()) {
			const blockEnd = blockStart + text.length;
			if (!joins) speaker = speakerOf(text, cast);
			const shade = speaker < 0 ? null : this.layers.get(SHADE[speaker % SHADES]);
			const nameEnd = shade === null || joins ? 0 : cast[speaker].length + 1;
			if (nameEnd > 0) for (const layer of [shade, this.layers.get("name")]) layer.add(mark(element, 0, nameEnd));
			for (const [begin, end] of stretchesIn(blockStart, blockEnd)) {
				this.layers.get("machine").add(mark(element, begin - blockStart, end - blockStart));
				const from = Math.max(begin - blockStart, nameEnd);
				if (shade !== null && from < end - blockStart) shade.add(mark(element, from, end - blockStart));
			}
			blockStart = blockEnd + (blocks[index + 1]?.joins ? 0 : 1);
		}
	}

	/** Paint these ranges, and no others, in a layer. */
	set(name, ranges) {
		const layer = this.layers?.get(name);
		layer?.clear();
		for (const range of ranges) layer?.add(range);
	}
}

function mark({ firstChild: node }, startOffset, endOffset) {
	return new StaticRange({ startContainer: node, startOffset, endContainer: node, endOffset });
}

/** Gives the machine's stretches of [begin, end), asked in rising order. */
function walk(pieces, offset) {
	let index = 0;
	let at = 0;
	while (index < pieces.length && at + pieces[index].text.length <= offset) {
		at += pieces[index].text.length;
		index += 1;
	}
	return function* stretches(begin, end) {
		for (; index < pieces.length && at < end; index += 1) {
			const next = at + pieces[index].text.length;
			const stretch = [Math.max(at, begin), Math.min(next, end)];
			if (pieces[index].by !== null && stretch[0] < stretch[1]) yield stretch;
			if (next > end) return;
			at = next;
		}
	};
}
