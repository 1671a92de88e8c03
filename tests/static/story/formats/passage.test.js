import assert from "node:assert/strict";
import { test } from "node:test";
import { passageOf, toHtml, wrap } from "../../../../static/story/formats/passage.js";

const ATTACKS = ["<img src=x onerror=bad()>", "</p></blockquote><script>bad()</script>", '" onload="bad()', "'><svg onload=bad()>", "&lt;b&gt;"];

function storyOf(...parts) {
	const pieces = parts.map(([text, by]) => ({ text, by, from: 0 }));
	return { title: "", text: parts.map(([text]) => text).join(""), pieces };
}

test("a passage has its paragraphs with who wrote what, without the empty ones around it", () => {
	const story = storyOf(["\nOnce", null], [" upon\n\na time\n", "m"]);
	const all = passageOf(story, { start: 0, end: story.text.length }, "by m");
	assert.deepEqual(all.paragraphs, [[{ text: "Once", isMachine: false }, { text: " upon", isMachine: true }], [], [{ text: "a time", isMachine: true }]]);
	assert.equal(all.title, "Once upon");
	assert.deepEqual(passageOf(story, { start: 3, end: 7 }, "").paragraphs, [[{ text: "ce", isMachine: false }, { text: " u", isMachine: true }]]);
	assert.deepEqual(passageOf(storyOf(["\n \n", null]), { start: 0, end: 3 }, "").paragraphs, []);
});

for (const attack of ATTACKS) {
	test(`in HTML ${attack} is text`, () => {
		const story = { ...storyOf([attack, null], [attack, "m"]), title: attack };
		const html = toHtml(passageOf(story, { start: 0, end: 1000 }, attack));
		assert.ok(!html.includes(attack));
		const tags = html.match(/<\/?\w+/g);
		assert.deepEqual([...new Set(tags)], ["<blockquote", "<p", "<span", "</span", "</p", "<footer", "<cite", "</cite", "</footer", "</blockquote"]);
		assert.equal(html.match(/"/g).length % 2, 0);
	});
}

const lengthOf = (text) => text.length;
const linesOf = (runs, width) => wrap(runs, width, lengthOf).map((parts) => parts.map(({ text }) => text).join(""));

test("lines break between words, and within a word only if it is longer than a line", () => {
	assert.deepEqual(linesOf([{ text: "one two three", isMachine: false }], 8), ["one two ", "three"]);
	assert.deepEqual(linesOf([{ text: "abcdefghij k", isMachine: false }], 4), ["abcd", "efgh", "ij k"]);
	assert.deepEqual(linesOf([], 4), [""]);
});

test("no line begins with a full stop, and a word of two authors stays together", () => {
	assert.deepEqual(linesOf([{ text: "灯在河上熄灭。无人看见", isMachine: false }], 6), ["灯在河上熄灭。", "无人看见"]);
	const mixed = [{ text: "a lamp", isMachine: false }, { text: "light.", isMachine: true }];
	assert.deepEqual(wrap(mixed, 10, lengthOf), [[{ text: "a ", isMachine: false, x: 0 }], [{ text: "lamp", isMachine: false, x: 0 }, { text: "light.", isMachine: true, x: 4 }]]);
});
