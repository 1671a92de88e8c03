import assert from "node:assert/strict";
import { test } from "node:test";

import { findLoop } from "../../../static/story/loop.js";

test("a loop is found where its second round begins", () => {
	const text = `He went home. ${"And then he slept. ".repeat(4)}`;
	const start = findLoop(text);
	assert.equal(text.slice(0, start).trimEnd(), "He went home. And then he slept.");
});

test("a round that is only begun still counts, and one letter on and on does too", () => {
	assert.equal(findLoop("He sang. la la la la la la la la la la l"), "He sang. la".length);
	assert.equal(findLoop(`Well ${"z".repeat(40)}`), "Well z".length);
});

test("ordinary prose, a refrain and rows of spaces are no loop", () => {
	assert.equal(findLoop("The lamp went out. The lamp went out. Nobody saw it."), null);
	assert.equal(findLoop("ha ha ha"), null);
	assert.equal(findLoop(`x${" ".repeat(60)}`), null);
	assert.equal(findLoop(""), null);
});
