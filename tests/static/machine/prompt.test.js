import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.localStorage = globalThis.sessionStorage = { getItem: () => null };
const { promptAt, seenAt } = await import("../../../static/machine/prompt.js");

/** A tokenizer whose tokens are single characters. */
const count = async (text) => ({ offsets: [...text].map((_, at) => [at, at + 1]) });
const story = (about) => ({ text: "one\ntwo\nthree\nfour", memory: "", world: "", note: "", noteDepth: 2, ...about });

test("a request says memory and note only where there are any", () => {
	assert.deepEqual(promptAt(story(), 7), { prompt: "one\ntwo" });
	assert.deepEqual(promptAt(story({ note: "N" }), 3), { prompt: "one", memory: "", note: "N", note_depth: 2 });
});

test("a line of the world goes along where one of its names was mentioned", () => {
	const world = "Anna, the lamplighter: she is fifty.\nAl: a cat.\n灯塔，塔：在海边。\n(a+)+: a charm.\n: nobody\nno colon";
	const told = (text, about) => promptAt({ ...story(about), text, world }, text.length).memory;
	assert.equal(told("ANNA also came."), "Anna, the lamplighter: she is fifty.");
	assert.equal(told("The lamplighter and Al", { memory: "M" }), "M\nAnna, the lamplighter: she is fifty.\nAl: a cat.");
	assert.equal(told("她走向灯塔去。"), "灯塔，塔：在海边。");
	assert.equal(told(`a${"a".repeat(200)}`), undefined);
	assert.equal(told(`Anna.${"x ".repeat(1000)}`), undefined);
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
