import assert from "node:assert/strict";
import { test } from "node:test";

import { fromLines, toLines } from "../../../static/tools/lists.js";

for (const text of ['He said "', "C:\\new", "tab\there", "line\nbreak", "\\", "\\n", "a  b "]) {
	test(`the item ${JSON.stringify(text)} comes back from its line`, () => {
		assert.deepEqual(fromLines(toLines([text, "END"], "list[str]"), "list[str]"), [text, "END"]);
	});
}

test("digits are a token's number where numbers are taken, and text where they are not", () => {
	assert.deepEqual(fromLines("42\nword", "list[int | str]"), [42, "word"]);
	assert.deepEqual(fromLines("42", "list[str]"), ["42"]);
});

test("a mapping's line counts once its number is there", () => {
	assert.deepEqual(fromLines("50256 -5.5\n7\n8 -", "dict[int, float]"), { 50256: -5.5 });
	assert.equal(toLines({ 50256: -5.5 }, "dict[int, float]"), "50256 -5.5");
});
