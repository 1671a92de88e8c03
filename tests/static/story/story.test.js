import assert from "node:assert/strict";
import { test } from "node:test";

import { Story } from "../../../static/story/story.js";
import { generated } from "../../../static/story/pieces.js";

function story({ clock = { time: 0 } } = {}) {
	let count = 0;
	return new Story(null, { makeId: () => `n${count++}`, now: () => clock.time });
}

function machine(document, text, at = document.text.length) {
	const node = document.begin(at);
	for (const word of text.match(/\s*\S+/g)) document.append(node, word, [{ length: word.length, logprob: -1, top: [] }]);
	document.finish(node, { reason: "length" });
	return node;
}

const authors = (document) => document.pieces.map((piece) => `${piece.by === null ? "w" : "m"}:${piece.text}`);

test("what the machine adds is the machine's, and typing in it makes those words the writer's", () => {
	const document = story();
	document.edit(0, 0, "Once ");
	machine(document, "upon a time");
	document.edit(10, 1, "the");
	assert.equal(document.text, "Once upon the time");
	assert.deepEqual(authors(document), ["w:Once ", "m:upon ", "w:the", "m: time"]);
});

test("undo and redo go across edits and continuations and bring every author back", () => {
	const document = story();
	document.edit(0, 0, "Once ");
	machine(document, "upon a time");
	document.edit(5, 4, "on");
	const there = authors(document);
	while (document.undo());
	assert.equal(document.text, "");
	while (document.redo());
	assert.deepEqual(authors(document), there);
});

test("writing after an undo begins a branch and forgets nothing", () => {
	const document = story();
	document.edit(0, 0, "Once ");
	const first = machine(document, "upon a time");
	document.undo();
	document.edit(5, 0, "more");
	assert.equal(document.text, "Once more");
	document.go(first.id);
	assert.equal(document.text, "Once upon a time");
});

test("alternatives of one place are walked in a circle, each as far as it was written", () => {
	const document = story();
	document.edit(0, 0, "Once");
	const first = machine(document, " upon");
	document.edit(9, 0, "!");
	document.go(first.parent);
	machine(document, " more");
	assert.deepEqual(document.alternatives().index, 1);
	document.sideways(1);
	assert.equal(document.text, "Once upon!");
	document.sideways(1);
	assert.equal(document.text, "Once more");
});

test("keys of one burst make one node, a pause makes another", () => {
	const clock = { time: 0 };
	const document = story({ clock });
	for (const [at, letter] of [..."word"].entries()) document.edit(at, 0, letter, { typing: true });
	document.edit(3, 1, "", { typing: true });
	assert.equal(document.nodes.size, 2);
	clock.time = 60_000;
	document.edit(3, 0, "k", { typing: true });
	assert.equal(document.nodes.size, 3);
	document.undo();
	assert.equal(document.text, "wor");
});

test("a burst that erases leftwards and ahead is undone whole", () => {
	const document = story();
	document.edit(0, 0, "abcdef");
	document.edit(2, 1, "", { typing: true });
	document.edit(1, 1, "", { typing: true });
	document.edit(1, 1, "", { typing: true });
	document.edit(1, 0, "XY", { typing: true });
	assert.equal(document.text, "aXYef");
	document.undo();
	assert.equal(document.text, "abcdef");
});

test("a saved story comes back with text, authors and tree, at the same place", () => {
	const document = story();
	document.edit(0, 0, "Once ");
	const node = machine(document, "upon a time");
	document.edit(4, 0, ",");
	const again = new Story(JSON.parse(JSON.stringify(document)));
	assert.deepEqual(authors(again), authors(document));
	again.go(node.id);
	assert.equal(again.text, "Once upon a time");
});

test("a continuation aside waits in the tree while the text stays", () => {
	const document = story();
	document.edit(0, 0, "Once");
	const node = document.begin(4, 0, { aside: true });
	document.append(node, " more");
	assert.equal(document.text, "Once");
	document.go(node.id);
	assert.equal(document.text, "Once more");
});

test("a copied piece keeps its author and its tokens", () => {
	const document = story();
	const node = machine(document, "upon a time");
	document.edit(11, 0, generated(" time", node.id, 6));
	assert.equal(document.text, "upon a time time");
	const { node: from, index, token } = document.tokenAt(13);
	assert.deepEqual([from, index, token], [node, 2, [...node.tokens][2]]);
});

test("a character's token is found after edits before and inside it", () => {
	const document = story();
	const node = machine(document, "upon a lamplighter");
	document.edit(0, 0, "Once ");
	document.edit(15, 0, "-");
	assert.equal(document.text, "Once upon a lam-plighter");
	const { node: from, index, start, end } = document.tokenAt(18);
	assert.deepEqual([from, index], [node, 2]);
	assert.equal(document.text.slice(start, end), "plighter");
	assert.equal(document.tokenAt(15), null);
});

test("a sealed head and another tab's node are never grown", () => {
	const document = story();
	document.edit(0, 0, "a", { typing: true });
	document.seal();
	document.edit(1, 0, "b", { typing: true });
	assert.equal(document.nodes.size, 3);
	document.adopt({ id: "theirs", parent: document.head.id, kind: "edit", at: 2, cut: [], put: [] });
	assert.equal(document.text, "ab");
	assert.equal(document.childrenOf(document.head).length, 1);
});

test("300,000 characters with 20,000 changes open and change quickly enough to type", () => {
	const document = story();
	document.edit(0, 0, "The lamp went out. ".repeat(15_800));
	for (let count = 0; count < 20_000; count += 1) document.edit((count * 7919) % 300_000, 1, "x");
	const again = new Story(JSON.parse(JSON.stringify(document)));
	assert.equal(again.text, document.text);
	assert.equal(again.text.length, 300_200);
});

test("a continuation of which no word came is no alternative", () => {
	const document = story();
	document.edit(0, 0, "Once");
	document.finish(document.begin(4), { reason: "failed" });
	document.undo();
	machine(document, " upon");
	assert.equal(document.alternatives().nodes.length, 1);
});
