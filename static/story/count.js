// Counts the words of a text as its language has them, Chinese too. Knows no page.

import { lengthOf, textOf } from "./pieces.js";

/** {words, characters, share}: `share` of the characters is the machine's, from 0 to 1. */
export function count(pieces) {
	const characters = lengthOf(pieces);
	const machines = lengthOf(pieces.filter(({ by }) => by !== null));
	let words = 0;
	for (const { isWordLike } of new Intl.Segmenter(undefined, { granularity: "word" }).segment(textOf(pieces))) if (isWordLike) words += 1;
	return { words, characters, share: characters === 0 ? 0 : machines / characters };
}
