import assert from "node:assert/strict";
import { test } from "node:test";

import { generated, textOf, written } from "../../../../static/story/pieces.js";
import { fromFragment, MARK, toFragment } from "../../../../static/story/formats/share.js";

const authors = ({ pieces }) => pieces.map(({ text, by }) => [by !== null, text]);
const story = { title: "Lamps", pieces: [...written("The lamp 灯 "), ...generated("went out.\n", "n1"), ...written("“No.”")] };

async function packed(data) {
	const text = typeof data === "string" ? data : JSON.stringify(data);
	const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
	return MARK + Buffer.from(await new Response(stream).arrayBuffer()).toString("base64url");
}

test("a story comes back from its link with every character and author", async () => {
	const back = await fromFragment(await toFragment(story));
	assert.deepEqual(authors(back), authors(story));
	assert.equal(back.title, "Lamps");
});

test("a story too long for a link has none", async () => {
	const noise = Array.from({ length: 30_000 }, (_, at) => String.fromCharCode(0x4e00 + ((at * 7919) % 20_000))).join("");
	assert.equal(await toFragment({ title: "", pieces: written(noise) }), null);
});

for (const [what, fragment] of Object.entries({
	"nothing": MARK, "noise": `${MARK}!!!`, "another hash": "#top", "a link cut off": (await toFragment(story)).slice(0, -9),
	"no JSON": await packed("hello"), "other JSON": await packed([1]), "pieces that are none": await packed({ continuo: 1, title: "", pieces: [{}] }),
	"a title that is none": await packed({ continuo: 1, title: {}, pieces: [] }),
	"an author that is none": await packed({ continuo: 1, title: "", pieces: [["x", "__proto__"]] }),
	"a link that unfolds to twenty megabytes": await packed(JSON.stringify({ continuo: 1, title: "", pieces: [["x".repeat(2e7), 0]] })),
})) {
	test(`${what} is no story`, async () => assert.equal(await fromFragment(fragment), null));
}

test("what looks like markup comes back as text", async () => {
	const text = '<img src=x onerror=alert(1)>"\'`${1}';
	assert.equal(textOf((await fromFragment(await toFragment({ title: text, pieces: written(text) }))).pieces), text);
});
