import assert from "node:assert/strict";
import { test } from "node:test";
import { beginTurn, castOf, endTurn, isTurnOf, speakerOf } from "../../../static/story/scene.js";

const CAST = ["ROSS", "JOEY", "MR. TREEGER"];

test("the cast is the card's speakers, with or without their colons", () => {
	assert.deepEqual(castOf({ speakers: ["ROSS", " JOEY: ", "ROSS:", "", ":"] }), ["ROSS", "JOEY"]);
	assert.deepEqual([castOf(null), castOf({})], [[], []]);
});

test("a line is spoken by whose name and colon it begins with", () => {
	const lines = ["JOEY: Hi", "MR. TREEGER:", "ROSSINI: ah", "(ROSS: enters)", "joey: hi", ""];
	assert.deepEqual(lines.map((line) => speakerOf(line, CAST)), [1, 2, -1, -1, -1, -1]);
});

const TURNS = [
	// the text, after its end was handed to others, after it was given to Joey
	["", "", "JOEY: "],
	["JOEY: Hi", "JOEY: Hi\n", "JOEY: Hi\nJOEY: "],
	["ROSS: Hi \n", "ROSS: Hi\n", "ROSS: Hi\nJOEY: "],
	["ROSS: Hi\nJOEY: ", "ROSS: Hi\n", "ROSS: Hi\nJOEY: "],
	["ROSS: Hi\nMR. TREEGER:", "ROSS: Hi\n", "ROSS: Hi\nJOEY: "],
	["JOEY: ", "", "JOEY: "],
	["ROSS: Hi\n\nJOEY: Ho", "ROSS: Hi\n\nJOEY: Ho\n\n", "ROSS: Hi\n\nJOEY: Ho\n\nJOEY: "],
	["A bar.\n\nROSS: Hi\nJOEY: Ho", "A bar.\n\nROSS: Hi\nJOEY: Ho\n", "A bar.\n\nROSS: Hi\nJOEY: Ho\nJOEY: "],
	["A bar at night.", "A bar at night.\n", "A bar at night.\nJOEY: "],
];

for (const [text, ended, begun] of TURNS) {
	test(`turns after ${JSON.stringify(text)}`, () => {
		assert.equal(endTurn(text, CAST), ended);
		assert.equal(beginTurn(text, "JOEY", CAST), begun);
		assert.equal(endTurn(ended, CAST), ended);
		assert.equal(beginTurn(begun, "JOEY", CAST), begun);
	});
}

test("whose turn it is", () => {
	assert.deepEqual(["JOEY: ", "a\nJOEY: Hi", "JOEY: Hi\n", "ROSS: Hi", ""].map((text) => isTurnOf(text, "JOEY")), [true, true, false, false, false]);
});
