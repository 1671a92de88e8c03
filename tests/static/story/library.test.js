import assert from "node:assert/strict";
import { test } from "node:test";

import { nameOf } from "../../../static/story/library.js";

test("a story without a title is named by its first words, and none of them is cut", () => {
	assert.equal(nameOf({ title: "", text: "\n  Once upon a time" }), "Once upon a time");
	const long = "On the evening the fair left town, Anna found the old lamplighter asleep";
	assert.equal(nameOf({ title: "", text: long }), "On the evening the fair left town, Anna found the old…");
});

test("a long name without spaces is cut where it must be", () => {
	assert.equal(nameOf({ title: "灯".repeat(100) }), `${"灯".repeat(60)}…`);
});
