import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.localStorage = globalThis.sessionStorage = { getItem: () => null };
const { promptAt, seenAt } = await import("../../static/machine/prompt.js");

/** A tokenizer whose tokens are single characters. */
const count = async (text) => ({ offsets: [...text].map((_, at) => [at, at + 1]) });
const story = (about) => ({ text: "one\ntwo\nthree\nfour", memory: "", note: "", noteDepth: 2, ...about });

test("a request says memory and note only where there are any", () => {
	assert.deepEqual(promptAt(story(), 7), { prompt: "one\ntwo" });
	assert.deepEqual(promptAt(story({ note: "N" }), 3), { prompt: "one", memory: "", note: "N", note_depth: 2 });
});

test("of a long text the end goes along, and no half of a character", () => {
	const { prompt } = promptAt(story({ text: `😀${"x".repeat(23_999)}` }), 24_001);
	assert.equal(prompt.length, 24_000);
	assert.ok(prompt.isWellFormed());
});

test("memory and note take their room from the beginning of the text", async () => {
	const seen = (about, room) => seenAt(story(about), 18, { room, count });
	assert.deepEqual(await seen({}, 100), { from: 0, count: 18 });
	assert.deepEqual(await seen({}, 4), { from: 14, count: 4 });
	assert.deepEqual(await seen({ memory: "M", note: "N\n" }, 12), { from: 10, count: 12 });
	assert.deepEqual(await seen({ memory: "M".repeat(40) }, 10), { from: 13, count: 46 });
});
