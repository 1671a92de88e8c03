// One request for text: its events become words at the end of its continuations in the story.
// Keeps its place while the writer edits elsewhere. Knows no page.

import { promptAt } from "./prompt.js";
import { generate } from "./server.js";

const ALTERNATIVES = 6;

export class Run {
	/** `nodes` are the story's open continuations, one per choice; aside, or one that is the head. */
	constructor(story, nodes, settings, { aside = false } = {}) {
		this.story = story;
		this.nodes = nodes;
		this.settings = settings;
		this.aside = aside;
		this.abort = new AbortController();
		this.firsts = [...nodes];
		this.tokens = 0;
		this.begun = null; // when the first token came
		this.place = nodes[0].at + nodes[0].given;
		this.prompt = promptAt(story, this.place); // aside, the text as it is now
		this.admitted = new Promise((resolve) => { this.admit = () => resolve(null); });
	}

	/** Tokens per second since the first one. */
	get speed() {
		const seconds = (performance.now() - this.begun) / 1000;
		return this.tokens < 2 || seconds === 0 ? null : (this.tokens - 1) / seconds;
	}

	stop() {
		this.abort.abort();
	}

	/** Ask the server and write down what comes, telling `report` of each event. */
	async read(report) {
		const { signal } = this.abort;
		if (!this.aside) this.prompt = promptAt(this.story, this.place); // edits meanwhile count
		const body = { ...this.prompt, logprobs: ALTERNATIVES, ...this.settings };
		for await (const { event, data } of generate(body, signal)) {
			signal.throwIfAborted(); // one network read may hold more words after the stop
			if (event === "queue") report({ phase: "queue", ahead: data.ahead, seconds: Math.ceil(data.wait_ms / 1000), run: this });
			if (event === "start") this.#started(data, report);
			if (event === "token") this.#token(data, report);
		}
	}

	#started(data, report) {
		this.admit();
		for (const [index, node] of this.firsts.entries()) Object.assign(node, { seed: data.seeds[index], model: data.model });
		report({ phase: "started", run: this });
	}

	#token({ index, id, text, logprob, start, end, top, finish_reason: reason }, report) {
		if (id === null) { // the last of a choice: what was still held back, and why it ended
			if (text !== "") this.#write(index, text, []);
			return this.#finish(index, { reason });
		}
		this.begun ??= performance.now();
		this.tokens += 1;
		this.#write(index, text, [{ length: end - start, logprob, top }]);
		report({ phase: "writing", run: this });
	}

	#write(index, text, tokens) {
		this.story.append(this.#open(index), text, tokens);
		if (!this.aside) this.place += text.length;
	}

	/** The node to write in: a new one where the writer changed the text since the last word. */
	#open(index) {
		const node = this.nodes[index];
		if (this.aside || node === this.story.head) return node;
		this.#finish(index, { reason: "edited" });
		this.nodes[index] = this.story.begin(this.place, 0, { run: this.firsts[index].id, settings: this.settings });
		return this.nodes[index];
	}

	#finish(index, about) {
		if (this.nodes[index].open) this.story.finish(this.nodes[index], about);
	}

	/** It is over, well or not. */
	close(reason) {
		for (const index of this.nodes.keys()) this.#finish(index, { reason });
		this.admit();
	}

	/** The story changed: the pen moves along with the text, or is put down where the writer takes over. */
	moved({ type, at, removed, put, by }) {
		if (type === "moved" && (!this.aside || this.nodes.includes(this.story.head))) this.stop();
		if (this.aside || type !== "changed" || by !== "writer") return;
		if (at <= this.place && this.place <= at + removed) this.stop();
		else if (at < this.place) this.place += put.length - removed;
	}
}
