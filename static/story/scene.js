// A scene: a text in whose lines a cast speaks, each as "ROSS: Hello". Who speaks is in the text and nowhere else.
// Knows no page.

export const SHADES = 6; // of them every further speaker takes one again

/** The speakers that a model's card names; without the colon that some write behind a name. */
export function castOf(card) {
	const names = (card?.speakers ?? []).map((name) => name.trim().replace(/\s*:$/, ""));
	return [...new Set(names)].filter((name) => name !== "");
}

/** Who of the cast speaks a line, by number; -1 where nobody does. */
export function speakerOf(line, cast) {
	return cast.findIndex((name) => line.startsWith(`${name}:`));
}

/** The last line of a text that holds more than white space, and where it begins. */
function lastLine(text) {
	const end = text.trimEnd().length;
	const start = text.lastIndexOf("\n", Math.max(0, end - 1)) + 1;
	return { start, line: text.slice(start, end) };
}

/** Whether the last line is spoken by one, be it without a word so far. */
export function isTurnOf(text, name) {
	return lastLine(text).line.startsWith(`${name}:`) && !/\n\s*$/.test(text);
}

/** The text with its end ready for whoever speaks next: a line ends, and one without a word is taken out. */
export function endTurn(text, cast) {
	const open = withoutCue(text, cast);
	const body = open.trimEnd();
	return body === "" ? "" : body + gap(body, open.slice(body.length));
}

/** The text with its end ready for one to speak. */
export function beginTurn(text, name, cast) {
	return `${endTurn(text, cast)}${name}: `;
}

/** Where a request that writes for the others stops: at the next line of `name`, whom it never begins with. */
export function stopsFor(name) {
	return { stop: `\n${name}:`, banned: `${name}:` };
}

function withoutCue(text, cast) {
	const { start, line } = lastLine(text);
	const who = speakerOf(line, cast);
	const isCue = who >= 0 && line === `${cast[who]}:`;
	return isCue ? text.slice(0, start) : text;
}

/** Some scripts have an empty line between what two say: then so has the next. */
function gap(body, end) {
	const isWide = /\n\s*\n/.test(end) || body.slice(0, lastLine(body).start).endsWith("\n\n");
	return isWide ? "\n\n" : "\n";
}
