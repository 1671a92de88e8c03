import assert from "node:assert/strict";
import { test } from "node:test";

import { readEvents } from "../../../static/machine/events.js";

const STREAM =
	": hello\n\n" +
	'event: start\nid: 1\ndata: {"seed": 7}\n\n' +
	'event: token\r\nid: 2\r\ndata: {"text": "é 😀"}\r\n\r\n' +
	'event: token\nid: 3\ndata: {"text":\ndata: "line\\nbreak 灯"}\n\n' +
	": keep\n\n" +
	'event: done\nid: 4\ndata: {"finish_reason": "length"}\n\n';
const EVENTS = [
	{ event: "start", data: { seed: 7 } },
	{ event: "token", data: { text: "é 😀" } },
	{ event: "token", data: { text: "line\nbreak 灯" } },
	{ event: "done", data: { finish_reason: "length" } },
];
const bytes = new TextEncoder().encode(STREAM);

async function read(...chunks) {
	return Array.fromAsync(readEvents(ReadableStream.from(chunks)));
}

test("the same events arrive wherever the network cuts once", async () => {
	for (let at = 0; at <= bytes.length; at += 1) {
		assert.deepEqual(await read(bytes.slice(0, at), bytes.slice(at)), EVENTS, `cut at ${at}`);
	}
});

test("the same events arrive in pieces of every size", async () => {
	for (let size = 1; size <= bytes.length; size += 1) {
		const chunks = [];
		for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.slice(at, at + size));
		assert.deepEqual(await read(...chunks), EVENTS, `pieces of ${size}`);
	}
});

test("a last event without its blank line still counts", async () => {
	assert.deepEqual(await read(bytes.slice(0, -2)), EVENTS);
});
