// What the model is given to go on from: the text before the pen, and the story's memory and note, which the server
// puts among it. Knows no page.

import { tokenize } from "./server.js";

const SENT = 24_000; // characters before the pen that go along: 1,024 tokens are fewer
const counts = new Map(); // tokens of memories and notes, by model and text

/** The fields of a request that say from what to go on at a place in a story. */
export function promptAt({ text, memory, note, noteDepth }, place) {
	const prompt = text.slice(Math.max(0, place - SENT), place).toWellFormed();
	return memory === "" && note === "" ? { prompt } : { prompt, memory, note, note_depth: noteDepth };
}

/**
 * {from, count}: where the text begins that the model sees, and how many tokens it has with memory and note, where a
 * prompt may have `room`. The server cuts by the same rule.
 * @param {{room?: number, model?: string, signal?: AbortSignal, count?: typeof tokenize}} options
 */
export async function seenAt(story, place, options) {
	const { text, memory, note } = story;
	const { room, model, signal, count = tokenize } = options;
	const start = Math.max(0, place - SENT);
	const besides = [memory, note].map((part) => countOf(part, { model, signal, count }));
	const taken = (await Promise.all(besides)).reduce((sum, one) => sum + one, 0);
	const { offsets } = await count(text.slice(start, place).toWellFormed(), model, signal);
	const left = taken === 0 ? room : Math.max(Math.floor(room / 2), room - taken);
	const cut = offsets.length > left ? offsets[offsets.length - left][0] : 0;
	return { from: start + cut, count: taken + Math.min(left, offsets.length) };
}

async function countOf(text, { model, signal, count }) {
	if (text === "") return 0;
	const key = `${model ?? ""}\0${text}`;
	const lines = text.endsWith("\n") ? text : `${text}\n`;
	if (!counts.has(key)) counts.set(key, (await count(lines, model, signal)).offsets.length);
	return counts.get(key);
}
