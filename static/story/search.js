// Finds words in a story, on every branch of its tree. Knows no page.

import { textOf } from "./pieces.js";

const AROUND = 40; // characters shown before and after what was found

/** {node, start, end, before, match, after}: where a story has the words, first in its text, else on the latest branch
 * that has them; null where it has them nowhere. */
export function findWords(story, words) {
	if (words === "") return null;
	// An expression, since a lower-case letter may be longer: "İ" is two, and all behind it would be shifted.
	const wanted = new RegExp(words.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"), "iu");
	const here = look(story.text, wanted, story.head.id, 0);
	if (here !== null) return here;
	for (const node of [...story.nodes.values()].reverse()) {
		const found = look(textOf(node.put), wanted, node.id, node.at);
		if (found !== null) return found;
	}
	return null;
}

function look(text, wanted, node, offset) {
	const found = wanted.exec(text);
	if (found === null) return null;
	const [match] = found, at = found.index, end = at + match.length;
	const before = (at > AROUND ? "…" : "") + text.slice(Math.max(0, at - AROUND), at);
	const after = text.slice(end, end + AROUND) + (end + AROUND < text.length ? "…" : "");
	return { node, start: offset + at, end: offset + end, before, match, after };
}
