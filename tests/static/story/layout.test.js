import assert from "node:assert/strict";
import { test } from "node:test";

import { layOut } from "../../../static/story/layout.js";
import { Story } from "../../../static/story/story.js";

function continued(story, text) {
	const node = story.begin(story.text.length);
	story.append(node, text);
	story.finish(node);
	return node;
}

test("the way through the head runs straight down, and no two dots share a place", () => {
	const story = new Story();
	story.edit(0, 0, "Once");
	const first = continued(story, " upon");
	for (const word of [" more", " again", " only"]) {
		story.go(first.parent);
		continued(story, word);
	}
	const { dots, rows, columns } = layOut(story);
	assert.deepEqual([rows, columns, dots.length], [3, 4, 6]);
	assert.equal(dots.find((dot) => dot.node === story.head).column, 0);
	assert.equal(new Set(dots.map((dot) => `${dot.row} ${dot.column}`)).size, dots.length);
});

test("edits in a row are one dot, but the head keeps its own", () => {
	const story = new Story();
	for (let count = 0; count < 5; count += 1) story.edit(story.text.length, 0, "word ");
	assert.equal(layOut(story).dots.length, 2);
	story.undo();
	assert.equal(layOut(story).dots.length, 3);
});

test("of a story as long as a month it is the part around the head", () => {
	const story = new Story();
	for (let count = 0; count < 1000; count += 1) continued(story, " word");
	for (let count = 0; count < 500; count += 1) story.undo();
	const { dots } = layOut(story);
	assert.ok(dots.length <= 120);
	assert.ok(dots.some((dot) => dot.node === story.head));
});
