import assert from "node:assert/strict";
import { test } from "node:test";

import { stretchesOf } from "../../../static/machine/stretches.js";

const bytes = (text) => new TextEncoder().encode(text).length;

for (const [what, text] of Object.entries({
	"Chinese without a space": "灯塔的灯熄了。".repeat(250),
	"one long word": "x".repeat(5000),
	"emoji": "👩‍👩‍👧".repeat(500),
	"a space at the start of a long word": ` ${"x".repeat(3000)}`,
	"prose": "The lamp went out over the river.\n".repeat(200),
})) {
	test(`${what} is cut whole into stretches that a window of 300 can hold`, () => {
		const stretches = stretchesOf(text, 300);
		assert.equal(stretches.map((stretch) => stretch.text).join(""), text);
		for (const { text: part, start, before } of stretches) {
			assert.ok(part.length > 0 && bytes(part) < 300);
			assert.ok(text.slice(0, start).endsWith(before));
		}
	});
}

test("half a character, as a paste may bring it, is one of its own", () => {
	assert.equal(stretchesOf(`a\ud83d${"b".repeat(20)}`, 8).map(({ text }) => text).join("").length, 22);
});

test("an edit leaves the stretches before it as they were", () => {
	const line = "The lamp went out over the river.\n";
	const [before, after] = [line.repeat(200), `${line.repeat(150)}Now ${line.repeat(50)}`].map((text) => stretchesOf(text));
	assert.deepEqual(after.slice(0, 4), before.slice(0, 4));
});
