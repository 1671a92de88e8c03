import assert from "node:assert/strict";
import { test } from "node:test";

import { difference, generated, join, lengthOf, replace, slice, textOf, written } from "../../../static/story/pieces.js";

const mixed = () => [...written("On the "), ...generated("evening", "a"), ...written(" fair")];

test("a replacement keeps every other character's author", () => {
	const pieces = mixed();
	const gone = replace(pieces, 9, 3, written("E"));
	assert.equal(textOf(pieces), "On the evEng fair");
	assert.deepEqual(gone, [{ text: "eni", by: "a", from: 2 }]);
	assert.deepEqual(pieces.map(({ text, by, from }) => [text, by, from]), [
		["On the ", null, 0],
		["ev", "a", 0],
		["E", null, 0],
		["ng", "a", 5],
		[" fair", null, 0],
	]);
});

test("putting back what was cut gives the same pieces again", () => {
	const pieces = mixed();
	const gone = replace(pieces, 3, 9, written("xyz"));
	replace(pieces, 3, 3, gone);
	assert.deepEqual(pieces, mixed());
});

test("neighbours of one author become one piece, up to a length", () => {
	assert.equal(join(written("a"), written("b")).length, 1);
	assert.equal(join(generated("a", "x", 0), generated("b", "x", 1)).length, 1);
	assert.equal(join(generated("a", "x", 0), generated("b", "x", 5)).length, 2);
	assert.ok(written("a".repeat(300_000)).every((piece) => piece.text.length <= 4096));
});

test("a slice carries its offsets", () => {
	assert.deepEqual(slice(mixed(), 9, 12), [{ text: "eni", by: "a", from: 2 }]);
	assert.equal(lengthOf(slice(mixed(), 3)), 16);
});

test("random replacements agree with plain strings", () => {
	let seed = 7;
	const random = (below) => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
	const pieces = [];
	let text = "";
	for (let round = 0; round < 2000; round += 1) {
		const at = random(text.length + 1);
		const length = random(Math.min(12, text.length - at + 1));
		const put = "abc".slice(0, random(4));
		replace(pieces, at, length, round % 2 ? written(put) : generated(put, `n${round % 5}`));
		text = text.slice(0, at) + put + text.slice(at + length);
		assert.equal(textOf(pieces), text);
	}
});

test("a difference is the least change and never half an emoji", () => {
	assert.deepEqual(difference("abcd", "abXd"), { at: 2, removed: 1, put: "X" });
	assert.deepEqual(difference("aa", "aaa"), { at: 2, removed: 0, put: "a" });
	assert.deepEqual(difference("x😀y", "x😁y"), { at: 1, removed: 2, put: "😁" });
	assert.deepEqual(difference("same", "same"), { at: 4, removed: 0, put: "" });
});
