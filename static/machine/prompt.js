// What the model is given to go on from: the text before the pen, and the story's memory and note, which the server
// puts among it. With the memory go those lines of the story's world that are called: "Anna, the lamplighter: she is
// fifty" is called by either name, where it stands shortly before the pen. Knows no page.

import { tokenize } from "./server.js";

const SENT = 24_000; // characters before the pen that go along: 1,024 tokens are fewer
const RECENT = 2_000; // characters before the pen in which a name calls its line of the world
const LETTER = "[\\p{Script=Latin}\\p{Script=Greek}\\p{Script=Cyrillic}\\p{N}]"; // where names end: Chinese has no spaces
const counts = new Map(); // tokens of memories and notes, by model and text

/** The fields of a request that say from what to go on at a place in a story. */
export function promptAt(story, place) {
	const { text, note, noteDepth } = story;
	const memory = memoryAt(story, place);
	const prompt = text.slice(Math.max(0, place - SENT), place).toWellFormed();
	return memory === "" && note === "" ? { prompt } : { prompt, memory, note, note_depth: noteDepth };
}

/**
 * {from, count}: where the text begins that the model sees, and how many tokens it has with memory and note, where a
 * prompt may have `room`. The server cuts by the same rule.
 * @param {{room?: number, model?: string, signal?: AbortSignal, count?: typeof tokenize}} options
 */
export async function seenAt(story, place, options) {
	const { text, note } = story;
	const memory = memoryAt(story, place);
	const { room, model, signal, count = tokenize } = options;
	const start = Math.max(0, place - SENT);
	const besides = [memory, note].map((part) => countOf(part, { model, signal, count }));
	const taken = (await Promise.all(besides)).reduce((sum, one) => sum + one, 0);
	const { offsets } = await count(text.slice(start, place).toWellFormed(), model, signal);
	const left = taken === 0 ? room : Math.max(Math.floor(room / 2), room - taken);
	const cut = offsets.length > left ? offsets[offsets.length - left][0] : 0;
	return { from: start + cut, count: taken + Math.min(left, offsets.length) };
}

function memoryAt({ text, memory, world }, place) {
	const recent = text.slice(Math.max(0, place - RECENT), place);
	const called = world.split("\n").filter((line) => namesOf(line).some((name) => isIn(recent, name)));
	return [memory, ...called].filter((part) => part !== "").join("\n");
}

function namesOf(line) {
	return line.split(/[:：]/, 1)[0].split(/[,，、]/).map((name) => name.trim()).filter((name) => name !== "");
}

function isIn(text, name) {
	return new RegExp(`(?<!${LETTER})${name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}(?!${LETTER})`, "iu").test(text);
}

async function countOf(text, { model, signal, count }) {
	if (text === "") return 0;
	const key = `${model ?? ""}\0${text}`;
	const lines = text.endsWith("\n") ? text : `${text}\n`;
	if (!counts.has(key)) counts.set(key, (await count(lines, model, signal)).offsets.length);
	return counts.get(key);
}
