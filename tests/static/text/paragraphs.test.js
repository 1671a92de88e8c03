import assert from "node:assert/strict";
import { test } from "node:test";
import { cut } from "../../../static/text/paragraphs.js";

const long = (word, length) => word.repeat(Math.ceil(length / word.length)).slice(0, length);

test("a paragraph of a usual length is one block", () => {
	assert.deepEqual(cut(""), [""]);
	assert.equal(cut(long("word ", 8000)).length, 1);
});

for (const [name, text, end] of [
	["sentences", long("The lamp went out. Nobody saw it. ", 300_000), /[.] $/],
	["words", long("lamp river lane ", 300_000), /\w $/],
	["Chinese", long("灯在河上熄灭，无人看见。", 100_000), /。$/],
	["letters without a space", long("x", 50_000), /x$/],
	["characters of several units", long("👩‍🚀é", 50_000), /[^\u200d]$/],
]) {
	test(`a long one of ${name} is cut where it hurts least, and nothing is lost`, () => {
		const parts = cut(text);
		assert.equal(parts.join(""), text);
		for (const part of parts.slice(0, -1)) {
			assert.ok(part.length > 1024 && part.length <= 4096, String(part.length));
			assert.match(part, end);
			assert.ok(part.isWellFormed());
		}
		assert.ok(parts.at(-1).length <= 8192);
	});
}
