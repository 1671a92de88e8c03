// A text as a list of pieces, each by one author. Knows neither tree nor page.
//
//   {text, by, from}: `by` is null for the writer, else the name of the continuation that wrote it;
//   `from` is where the piece begins in what that continuation wrote.

const LONGEST = 4096; // a piece never grows past this, so that an edit copies little

export function written(text) {
	const pieces = [];
	for (let at = 0; at < text.length; at += LONGEST) {
		pieces.push({ text: text.slice(at, at + LONGEST), by: null, from: 0 });
	}
	return pieces;
}

export function generated(text, by, from = 0) {
	return text === "" ? [] : [{ text, by, from }];
}

/** Whether data from outside is a list of pieces. */
export function arePieces(data) {
	const isPiece = (piece) => typeof piece?.text === "string"
		&& (piece.by === null || typeof piece.by === "string") && Number.isInteger(piece.from) && piece.from >= 0;
	return Array.isArray(data) && data.every(isPiece);
}

export function lengthOf(pieces) {
	return pieces.reduce((sum, piece) => sum + piece.text.length, 0);
}

export function textOf(pieces) {
	return pieces.map((piece) => piece.text).join("");
}

function cut(piece, start, end) {
	const from = piece.by === null ? 0 : piece.from + start;
	return { text: piece.text.slice(start, end), by: piece.by, from };
}

/** The pieces of [start, end). */
export function slice(pieces, start, end = Infinity) {
	const out = [];
	let at = 0;
	for (const piece of pieces) {
		const next = at + piece.text.length;
		if (next > start && at < end) {
			out.push(cut(piece, Math.max(0, start - at), Math.min(piece.text.length, end - at)));
		}
		if (next >= end) break;
		at = next;
	}
	return out;
}

function joins(a, b) {
	if (a.by !== b.by || a.text.length + b.text.length > LONGEST) return false;
	return a.by === null || a.from + a.text.length === b.from;
}

/** One list of several, neighbours of one author made one piece. */
export function join(...lists) {
	const out = [];
	for (const piece of lists.flat()) {
		const last = out.at(-1);
		if (last !== undefined && joins(last, piece)) out[out.length - 1] = { ...last, text: last.text + piece.text };
		else if (piece.text !== "") out.push(piece);
	}
	return out;
}

/** The index of the piece that holds the character at `at`, and where that piece starts. */
export function find(pieces, at) {
	let start = 0;
	for (let index = 0; index < pieces.length; index += 1) {
		const end = start + pieces[index].text.length;
		if (at < end) return { index, start };
		start = end;
	}
	return { index: pieces.length, start };
}

/** Put `put` where `length` characters from `at` on were, in place; returns what was cut out. */
export function replace(pieces, at, length, put) {
	const first = find(pieces, Math.max(0, at - 1)); // one before, so that neighbours can be joined
	const last = find(pieces, at + length);
	const stop = Math.min(pieces.length, last.index + 1);
	const middle = pieces.slice(first.index, stop);
	const here = at - first.start;
	const gone = slice(middle, here, here + length);
	const kept = join(slice(middle, 0, here), put, slice(middle, here + length));
	pieces.splice(first.index, stop - first.index, ...kept);
	return gone;
}

/** Where two texts differ: {at, removed, put}. Never cuts a surrogate pair in two. */
export function difference(before, after) {
	const most = Math.min(before.length, after.length);
	let at = 0;
	while (at < most && before[at] === after[at]) at += 1;
	if (at > 0 && isHighSurrogate(before.charCodeAt(at - 1))) at -= 1;
	let tail = 0;
	while (tail < most - at && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
	if (tail > 0 && isLowSurrogate(before.charCodeAt(before.length - tail))) tail -= 1;
	return { at, removed: before.length - at - tail, put: after.slice(at, after.length - tail) };
}

function isHighSurrogate(code) {
	return code >= 0xd800 && code < 0xdc00;
}

function isLowSurrogate(code) {
	return code >= 0xdc00 && code < 0xe000;
}
