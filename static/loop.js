// Finds where a text began to repeat itself. Knows no page.

const LOOKED_AT = 3000; // characters at the end
const TIMES = 3; // a refrain may come twice
const LEAST = 24; // characters that repeat in all: "ha ha ha" is no loop

/** {start, period} of the loop the text ends in (start: where the second round begins), or null. */
export function findLoop(text) {
	const tail = text.slice(-LOOKED_AT);
	const backwards = [...Array(tail.length).keys()].map((index) => tail.charCodeAt(tail.length - 1 - index));
	const same = matches(backwards);
	for (let period = 1; period * TIMES <= tail.length; period += 1) {
		const length = same[period] + period; // so much of the end has this period
		if (length >= period * TIMES && length >= LEAST && /\S/.test(tail.slice(-period))) {
			const second = tail.slice(tail.length - length + period);
			const word = /^\S*/.exec(second)[0].length; // the round before is left with its last word whole
			return { start: text.length - second.length + (word < period ? word : 0), period };
		}
	}
	return null;
}

/** The Z-function: how far the text matches itself from each place on. */
function matches(codes) {
	const same = new Int32Array(codes.length);
	let left = 0;
	let right = 0;
	for (let at = 1; at < codes.length; at += 1) {
		let length = at < right ? Math.min(right - at, same[at - left]) : 0;
		while (at + length < codes.length && codes[length] === codes[at + length]) length += 1;
		same[at] = length;
		if (at + length > right) [left, right] = [at, at + length];
	}
	return same;
}
