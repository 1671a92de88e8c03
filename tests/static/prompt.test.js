import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.localStorage = globalThis.sessionStorage = { getItem: () => null };
const { lineAbove, promptAt } = await import("../../static/machine/prompt.js");

/** A tokenizer whose tokens are single characters. */
const count = async (text) => ({ offsets: [...text].map((_, at) => [at, at + 1]) });
const story = (about) => ({ text: "one\ntwo\nthree\nfour", memory: "", note: "", noteDepth: 2, ...about });
const promptOf = async (about, options) => (await promptAt(story(about), 18, { count, ...options })).prompt;

test("without memory and note the prompt is the text", async () => {
	assert.equal(await promptOf({}, { room: 5 }), "one\ntwo\nthree\nfour");
});

test("the memory comes first, and the note some lines above the pen", async () => {
	assert.equal(await promptOf({ memory: "M", note: "[N]" }, { room: 100 }), "M\none\ntwo\n[N]\nthree\nfour");
});

test("what there is no room for is the beginning of the text, never memory or note", async () => {
	assert.equal(await promptOf({ memory: "M", note: "[N]" }, { room: 18 }), "M\no\n[N]\nthree\nfour");
	const { from, count: used } = await promptAt(story({ memory: "M" }), 18, { room: 12, count });
	assert.deepEqual([from, used], [8, 12]);
});

test("a memory longer than the window leaves half of it to the story", async () => {
	assert.equal(await promptOf({ memory: "M".repeat(40) }, { room: 10 }), `${"M".repeat(40)}\n\nfour`);
});

test("a note deeper than the text stands at its start", () => {
	assert.equal(lineAbove("one\ntwo", 5), 0);
	assert.equal(lineAbove("one\ntwo\n", 1), 8);
	assert.equal(lineAbove("one\ntwo", 0), 7);
});
