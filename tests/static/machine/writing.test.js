import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

const network = new EventTarget();
globalThis.addEventListener = network.addEventListener.bind(network);
globalThis.localStorage = globalThis.sessionStorage = { getItem: () => null };
const { Story } = await import("../../../static/story/story.js");
const { Writing } = await import("../../../static/machine/writing.js");

const STREAM = [
	["start", { seeds: [7], model: "m" }],
	["token", { index: 0, id: 1, text: " upon", logprob: -1, start: 0, end: 5, top: [] }],
	["token", { index: 0, id: null, text: "", finish_reason: "length" }],
	["done", {}],
].map(([event, data]) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`).join("");
const away = () => { throw new TypeError("Failed to fetch"); };
const refused = (status, error = null) => () => new Response(JSON.stringify({ error }), { status });
const writes = () => new Response(STREAM);
const settled = () => new Promise((resolve) => { setImmediate(resolve); });

let answer, asked, phases, story, writing;

beforeEach(() => {
	mock.timers.enable({ apis: ["setTimeout"] });
	[answer, asked, phases] = [away, [], []];
	globalThis.fetch = async (_, { body }) => {
		asked.push(JSON.parse(body).prompt);
		return answer();
	};
	story = new Story();
	story.edit(0, 0, "Once");
	writing = new Writing(() => ({}), ({ phase }) => phases.push(phase));
	writing.follow(story);
});
afterEach(() => mock.timers.reset());

/** Let the machine write, and its first request be answered. */
async function proceed() {
	const run = writing.proceed(story, story.text.length);
	await settled();
	return { run };
}

async function pass(seconds) {
	mock.timers.tick(seconds * 1000);
	await settled();
}

test("a server that is away is asked ever more rarely, and writes on when it is back", async () => {
	const { run } = await proceed();
	for (const seconds of [1, 2, 4, 8, 15, 15]) {
		const before = asked.length;
		for (let second = 1; second < seconds; second += 1) await pass(1);
		await pass(0.999);
		assert.equal(asked.length, before, `${seconds} s`);
		await pass(0.001);
		assert.equal(asked.length, before + 1, `${seconds} s`);
	}
	answer = writes;
	for (let second = 0; second < 15; second += 1) await pass(1);
	await run;
	assert.equal(story.text, "Once upon");
	assert.equal(phases.at(-1), "written");
});

test("it is asked at once when the network is back", async () => {
	const { run } = await proceed();
	await pass(1); // the next attempt is two seconds away
	answer = writes;
	network.dispatchEvent(new Event("online"));
	await run;
	assert.equal(story.text, "Once upon");
});

test("it goes on from the text as it stands then", async () => {
	const { run } = await proceed();
	story.edit(0, 0, "> ");
	answer = writes;
	await pass(1);
	await run;
	assert.equal(asked.at(-1), "> Once");
	assert.equal(story.text, "> Once upon");
});

for (const [how, end] of [["a stop", () => writing.stop()], ["typing", () => story.edit(4, 0, "!")]]) {
	test(`${how} ends the waiting`, async () => {
		const { run } = await proceed();
		end();
		await run;
		answer = writes;
		network.dispatchEvent(new Event("online"));
		await pass(60);
		assert.deepEqual(asked, ["Once"]);
		assert.deepEqual(phases, ["waiting", "away", "stopped"]);
	});
}

for (const [status, type, phase] of [
	[502, null, "away"], [503, null, "away"], [504, null, "away"],
	[503, "stopping", "unready"], [503, "unavailable", "unready"], [503, "engine_stopped", "unready"],
	[429, "overloaded", "full"], [429, "rate_limit", "limited"],
	[503, "engine_error", "failed"], [500, null, "failed"], [422, "invalid_value", "failed"], [401, "no_key", "failed"],
]) {
	test(`${status} ${type ?? "of a proxy"}: ${phase}`, async () => {
		answer = refused(status, type && { type, message: "Why." });
		await proceed();
		assert.equal(phases.at(-1), phase);
		writing.stop();
	});
}
