// A long text cut into stretches that a model can read whole.

const STRETCH = 1000; // bytes of UTF-8 at most: a byte-level token is at least one
const BEFORE = 1600; // characters the model is given before a stretch

/** [{start, text, before}], cut where lines or words end, so that an edit leaves the stretches before it
 * as they were. None has as many as `readable` bytes, so a model that reads that many tokens can read it. */
export function stretchesOf(text, readable = STRETCH + 1) {
	const stretches = [];
	for (let start = 0; start < text.length;) {
		const most = prefix(text, start, Math.min(STRETCH, readable - 1));
		const end = start + (start + most.length === text.length ? most.length : lastBreak(most));
		const before = text.slice(Math.max(0, start - BEFORE), start).toWellFormed();
		stretches.push({ start, text: text.slice(start, end).toWellFormed(), before });
		start = end;
	}
	return stretches;
}

/** The most whole characters from `start` that fit into so many bytes; at least one. */
function prefix(text, start, bytes) {
	let end = start;
	while (end < text.length) {
		const code = text.codePointAt(end);
		bytes -= code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
		if (bytes < 0 && end > start) break;
		end += code < 0x10000 ? 1 : 2;
	}
	return text.slice(start, end);
}

function lastBreak(text) {
	const line = text.lastIndexOf("\n") + 1;
	if (line > 0) return line;
	const space = text.lastIndexOf(" ");
	return space > 0 ? space : text.length;
}
