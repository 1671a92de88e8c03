// Finds words in a story, on every branch of its tree. Knows no page.

import { textOf } from "./pieces.js";

const AROUND = 40; // characters shown before and after what was found

/** {node, start, end, before, match, after}: where a story has the words, first in its text, else on the latest branch
 * that has them; null where it has them nowhere. */
export function findWords(story, words) {
	const wanted = words.toLowerCase();
	if (wanted === "") return null;
	const here = look(story.text, wanted, story.head.id, 0);
	if (here !== null) return here;
	for (const node of [...story.nodes.values()].reverse()) {
		const found = look(textOf(node.put), wanted, node.id, node.at);
		if (found !== null) return found;
	}
	return null;
}

function look(text, wanted, node, offset) {
	const at = text.toLowerCase().indexOf(wanted);
	if (at < 0) return null;
	const end = at + wanted.length;
	const before = (at > AROUND ? "…" : "") + text.slice(Math.max(0, at - AROUND), at);
	const after = text.slice(end, end + AROUND) + (end + AROUND < text.length ? "…" : "");
	return { node, start: offset + at, end: offset + end, before, match: text.slice(at, end), after };
}
