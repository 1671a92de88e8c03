import assert from "node:assert/strict";
import { test } from "node:test";

import { count } from "../../../static/story/count.js";
import { generated, written } from "../../../static/story/pieces.js";

test("words, characters and the machine's share are counted", () => {
	const { words, characters, share } = count([...written("The lamp "), ...generated("went out.", "a")]);
	assert.deepEqual([words, characters, share], [4, 18, 0.5]);
});

test("Chinese has words without spaces, and nothing has none", () => {
	assert.ok(count(written("灯塔的灯熄了。")).words >= 4);
	assert.deepEqual(count([]), { words: 0, characters: 0, share: 0 });
});
