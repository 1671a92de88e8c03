// Finds where a text began to repeat itself. Knows no page.

const LOOKED_AT = 3000; // characters at the end
const TIMES = 3; // a refrain may come twice
const LEAST = 24; // characters that repeat in all: "ha ha ha" is no loop

/** Where the second round begins of the loop that the text ends in, or null. */
export function findLoop(text) {
	const tail = text.slice(-LOOKED_AT);
	for (let period = 1; period * TIMES <= tail.length; period += 1) {
		const length = repeating(tail, period);
		if (length >= period * TIMES && length >= LEAST && /\S/.test(tail.slice(-period))) {
			const second = tail.slice(tail.length - length + period);
			const word = /^\S*/.exec(second)[0].length; // the round before is left with its last word whole
			return text.length - second.length + (word < period ? word : 0);
		}
	}
	return null;
}

/** How much of the end has this period: each character is the one a period before it. */
function repeating(tail, period) {
	let at = tail.length - period;
	while (at > 0 && tail[at - 1] === tail[at - 1 + period]) at -= 1;
	return tail.length - at;
}
