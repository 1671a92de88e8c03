import assert from "node:assert/strict";
import { test } from "node:test";

import { readFile } from "../../../../static/story/formats/files.js";

const read = (data, name = "tale.json") => readFile(name, JSON.stringify(data));
const authors = ({ pieces }) => pieces.map(({ text, by }) => [by !== null, text]);

test("a session of mikupad's comes with authors, memory and note", () => {
	const story = read({
		prompt: [{ type: "user", content: "Once " }, { content: "upon", prob: 0.5 }, { content: " a" }, { type: "user", content: " time" }],
		memoryTokens: { contextOrder: "{prompt}", prefix: "[", text: "Anna", suffix: "]\\n" },
		authorNoteTokens: { prefix: "", text: "It rains.", suffix: "" }, authorNoteDepth: 4,
	});
	assert.equal(story.text, "Once upon a time");
	assert.deepEqual(authors(story).map(([isMachines]) => isMachines), [false, true, true, false]);
	assert.deepEqual([story.memory, story.note, story.noteDepth, story.title], ["[Anna]\n", "It rains.", 4, "tale"]);
});

test("a save of KoboldAI's is its prompt and actions", () => {
	const story = read({ gamestarted: true, prompt: "Once", actions: [" upon", " a time."], memory: "Anna", authorsnote: "Rain.", worldinfo: [{ key: "Al,cat", content: "He is\ngrey." }] });
	assert.deepEqual([story.text, story.memory, story.note, story.world], ["Once upon a time.", "Anna", "Rain.", "Al,cat: He is grey."]);
});

test("a tree of loom's keeps every branch, and where it was left", () => {
	const leaf = (id, text, source = "AI") => ({ id, text, children: [], meta: { source } });
	const root = { ...leaf("r", "Once", "prompt"), children: [{ ...leaf("a", " upon"), children: [leaf("b", " a time")] }, leaf("c", " more")] };
	const story = read({ root, selected_node_id: "b" });
	assert.deepEqual(authors(story), [[false, "Once"], [true, " upon"], [true, " a time"]]);
	story.undo();
	story.sideways(1);
	assert.equal(story.text, "Once more");
});

for (const data of [{ prompt: 1 }, { prompt: [null, 1, { content: {} }] }, { prompt: "x", actions: [{}], memory: 7 }, { root: { children: [null, {}] } }, { root: [] }]) {
	test(`${JSON.stringify(data)} is a story without words or none`, () => {
		try {
			assert.ok(["", "x"].includes(read(data).text));
		} catch (error) {
			assert.equal(error.message, "notOurs");
		}
	});
}
