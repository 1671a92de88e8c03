import assert from "node:assert/strict";
import { test } from "node:test";

import { Story } from "../../../../static/story/story.js";
import { FORMATS, readFile, writeFile } from "../../../../static/story/formats/files.js";

function story() {
	const document = new Story();
	document.edit(0, 0, "1 < 2 & <script>alert(1)</script>\n\n");
	const node = document.begin(document.text.length);
	document.append(node, "said <b>Anna</b> 灯\n");
	document.finish(node);
	document.edit(document.text.length, 0, "“Yes.”");
	document.rename("Lamps: a/b");
	return document;
}

const authors = ({ pieces }) => pieces.map(({ text, by }) => [by !== null, text]);

for (const format of ["md", "html", "json"]) {
	test(`.${format} comes back with every character and its author`, () => {
		const { name, text } = writeFile(story(), format);
		assert.deepEqual(authors(readFile(name, text)), authors(story()));
	});
}

test(".txt is the text alone, and comes back as the writer's", () => {
	const { name, text } = writeFile(story(), "txt");
	assert.equal(name, "Lamps a b.txt");
	assert.equal(text, story().text);
	assert.deepEqual(authors(readFile(name, text)), [[false, story().text]]);
});

test(".json brings the whole tree, under new names", () => {
	const before = story();
	const after = readFile("x.json", writeFile(before, "json").text);
	assert.equal(after.nodes.size, before.nodes.size);
	assert.equal(after.title, before.title);
	assert.ok(![...after.nodes.keys()].some((id) => before.nodes.has(id)));
	after.undo();
	before.undo();
	assert.equal(after.text, before.text);
});

test("Markdown from elsewhere keeps what looks like a tag", () => {
	const text = "if a < b and c > d: <b>bold</b>";
	assert.equal(readFile("notes.md", text).text, text);
});

test("nothing of the text becomes markup in an exported page", () => {
	assert.ok(!writeFile(story(), "html").text.includes("<script"));
});

for (const [what, text] of Object.entries({
	"no JSON": "hello", "other JSON": "[1]", "a story without nodes": '{"continuo":1}',
	"a story that goes in a circle": FORMATS.json.write(story()).replace(/"parent":null/, (found, at, all) => `"parent":"${JSON.parse(all).head}"`),
	"a story that starts with a change": FORMATS.json.write(story()).replace('"kind":"start"', '"kind":"edit"'),
	"a story cut off": FORMATS.json.write(story()).replace(/"parent":"\w+"/, '"parent":"nowhere"'),
})) {
	test(`${what} is refused`, () => assert.throws(() => readFile("x.json", text), /notOurs/));
}

test("a story whose title is no text is one without a title", () => {
	const saved = { ...JSON.parse(FORMATS.json.write(story())), title: { toString: 1 } };
	assert.equal(readFile("x.json", JSON.stringify(saved)).title, "");
});

test("only a continuation goes on after an edit in mid-stream, and has written what it is said to", () => {
	const saved = JSON.parse(FORMATS.json.write(story()));
	const [start, edit, continuation] = saved.nodes;
	continuation.run = start.id;
	edit.put[0].by = edit.id;
	const after = readFile("x.json", JSON.stringify(saved));
	assert.deepEqual([after.alternatives().index, after.tokenAt(0)], [0, null]);
});
