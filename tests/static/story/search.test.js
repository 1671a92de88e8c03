import assert from "node:assert/strict";
import { test } from "node:test";

import { findWords } from "../../../static/story/search.js";
import { Story } from "../../../static/story/story.js";

test("words are found in the text, and on branches that were left", () => {
	const story = new Story();
	story.edit(0, 0, "The lamp went out. ");
	story.edit(story.text.length, 0, "Nobody saw it.");
	story.undo();
	story.edit(story.text.length, 0, "Anna saw it.");
	assert.deepEqual([findWords(story, "ANNA").start, findWords(story, "ANNA").match], [19, "Anna"]);
	const left = findWords(story, "nobody");
	story.go(left.node);
	assert.equal(story.text.slice(left.start, left.end), "Nobody");
	assert.equal(findWords(story, "ship"), null);
	assert.equal(findWords(story, ""), null);
});

test("what is found is what is marked, whatever letters and signs are around", () => {
	const story = new Story();
	story.edit(0, 0, "İİİ – what (else)? Σίσυφος");
	for (const words of ["WHAT", "(ELSE)?", "ΣΊΣΥΦΟΣ", "– w"]) {
		const { start, end, match } = findWords(story, words);
		assert.equal(story.text.slice(start, end), match);
		assert.equal(match.toLowerCase(), words.toLowerCase());
	}
});
