// Colours over the text without touching it: the browser's highlight registry. Knows places, not reasons.

const EXTRA = ["fresh", "word", "heat-1", "heat-2", "heat-3", "heat-4", "heat-5", "loop"];

export class Painter {
	constructor() {
		this.supported = typeof Highlight !== "undefined";
		if (!this.supported) return;
		this.layers = new Map(["machine", ...EXTRA].map((name) => [name, new Highlight()]));
		for (const [name, layer] of this.layers) {
			layer.priority = CSS.highlights.size; // the later ones paint over the earlier
			CSS.highlights.set(name, layer);
		}
	}

	clear() {
		for (const layer of this.layers?.values() ?? []) layer.clear();
	}

	/** The machine's words in these lines, and nowhere else; the first starts at `start` in the text. */
	authors(lines, start, pieces) {
		const layer = this.layers?.get("machine");
		layer?.clear();
		const stretchesIn = walk(pieces, start);
		let lineStart = start;
		for (const { element, text } of lines) {
			const lineEnd = lineStart + text.length;
			for (const [begin, end] of stretchesIn(lineStart, lineEnd)) layer?.add(mark(element, begin - lineStart, end - lineStart));
			lineStart = lineEnd + 1;
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
