// What the model is given to go on from: the story's memory, as much of the text before the pen as there is
// room for, and the writer's note some lines above the pen. Knows no page.

import { tokenize } from "./server.js";

const SENT = 24_000; // characters before the pen that go along: 1,024 tokens are fewer
const counts = new Map(); // tokens of memories and notes, by model and text

/**
 * {prompt, from, count}: `from` is where the text that the model sees begins, and `count` its tokens with those of
 * memory and note, where they had to be counted.
 * `story` has text, memory, note and noteDepth; `room` is how many tokens the prompt may have.
 * @param {{room?: number, model?: string, signal?: AbortSignal, count?: typeof tokenize}} options
 */
export async function promptAt(story, place, options = {}) {
	const { room = null, model, signal, count = tokenize } = options;
	const { memory, note, noteDepth, text } = story;
	const start = Math.max(0, place - SENT);
	const before = text.slice(start, place).toWellFormed();
	if ((memory === "" && note === "") || room === null) return { prompt: before, from: start, count: null };
	const [head, aside] = [ended(memory), ended(note)];
	const taken = await countOf(head, { model, signal, count }) + await countOf(aside, { model, signal, count });
	const { offsets } = await count(before, model, signal);
	const left = Math.max(Math.floor(room / 2), room - taken); // at least half of the room is the story's
	const cut = offsets.length > left ? offsets[offsets.length - left][0] : 0;
	const seen = before.slice(cut);
	const line = lineAbove(seen, noteDepth);
	const prompt = head + seen.slice(0, line) + aside + seen.slice(line);
	return { prompt, from: start + cut, count: taken + Math.min(left, offsets.length) };
}

/** A text on lines of its own; nothing where there is none. */
function ended(text) {
	return text === "" || text.endsWith("\n") ? text : `${text}\n`;
}

async function countOf(text, { model, signal, count }) {
	if (text === "") return 0;
	const key = `${model ?? ""}\0${text}`;
	if (!counts.has(key)) counts.set(key, (await count(text, model, signal)).offsets.length);
	return counts.get(key);
}

/** Where the line begins that has `depth` lines from it to the end; the start of a text with fewer. */
export function lineAbove(text, depth) {
	if (depth === 0) return text.length;
	let at = text.length;
	for (let lines = 0; lines < depth; lines += 1) {
		at = text.lastIndexOf("\n", at - 1);
		if (at <= 0) return 0;
	}
	return at + 1;
}
