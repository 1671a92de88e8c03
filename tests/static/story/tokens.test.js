import assert from "node:assert/strict";
import { test } from "node:test";

import { Story } from "../../../static/story/story.js";
import { Tokens } from "../../../static/story/tokens.js";

const TOKENS = [
	{ length: 5, logprob: Math.fround(-1.2345678), top: [{ text: " upon", logprob: -0.5 }, { text: ' "\n\0灯\ud83d', logprob: -100.25 }, { text: "", logprob: -0 }] },
	{ length: 0, logprob: -0.25, top: [] },
	{ length: 2, logprob: null, top: [{ text: "😀", logprob: null }] },
];

test("tokens come back as they were, every time they are read", () => {
	const tokens = new Tokens(TOKENS);
	for (const time of [1, 2]) assert.deepEqual([...tokens], TOKENS, `${time}`);
	assert.deepEqual([...new Tokens([])], []);
});

test("what no older story has a number for is unknown", () => {
	assert.deepEqual([...new Tokens([{ length: 1, top: [{ id: 7, text: "a" }] }])], [{ length: 1, logprob: null, top: [{ text: "a", logprob: null }] }]);
});

test("a token with six alternatives takes less than a hundred bytes, in a story written here and in one opened", () => {
	const story = new Story();
	const node = story.begin(0);
	for (let at = 0; at < 24; at += 1) {
		const top = Array.from({ length: 6 }, (_, index) => ({ id: index, text: ` “so${index}`, logprob: -0.37 * index - at }));
		story.append(node, " “so0", [{ length: 5, logprob: -at, top }]);
	}
	story.finish(node);
	for (const { texts, logprobs } of [node.tokens, new Story(JSON.parse(JSON.stringify(story))).head.tokens]) {
		assert.ok((texts.byteLength + logprobs.byteLength) / 24 < 100);
	}
});
