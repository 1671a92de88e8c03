// The same story open in several tabs: each writes its own nodes into one tree and tells the others.
// Knows no page and no storage.

import { makeId } from "../frame/storage.js";
import { recordOf } from "./story.js";

const PATIENCE_MS = 120; // another tab of this browser answers well within it

export class Tabs {
	/** `on`: asked() resolves when all is written down; others(count). */
	constructor(on) {
		this.on = on;
		this.me = makeId();
		this.others = new Set();
		this.channel = null;
		this.story = null;
		this.growing = null;
	}

	/** Enter a story's room; gives the open nodes that others are still writing. */
	async join(id) {
		this.leave();
		const live = new Set();
		this.channel = new BroadcastChannel(`continuo.story.${id}`);
		this.channel.onmessage = ({ data }) => this.#hear(data, live);
		this.#say("hello");
		await new Promise((resolve) => setTimeout(resolve, PATIENCE_MS));
		return live;
	}

	leave() {
		if (this.channel === null) return;
		this.#say("bye");
		this.channel.close();
		this.others.clear();
		Object.assign(this, { channel: null, story: null, growing: null });
		this.on.others(0);
	}

	/** The page is closed, or put aside for coming back to. */
	rest() {
		this.#say("bye");
	}

	resume() {
		this.#say("hello");
	}

	/** Tell the others of every node once it is whole. */
	follow(story) {
		this.story = story;
		story.watch(({ type, node }) => {
			if (node === undefined || type === "arrived" || story !== this.story) return;
			if (this.growing !== null && this.growing !== node) this.#send(this.growing);
			this.growing = node.typing ? node : null;
			if (!node.typing && !node.open) this.#send(node);
		});
	}

	#say(kind, fields = {}) {
		this.channel?.postMessage({ kind, from: this.me, ...fields });
	}

	#send(node) {
		this.#say("node", { node: recordOf(node) });
	}

	async #hear({ kind, from, node, open }, live) {
		if (kind === "node") return this.story?.adopt(node);
		if (kind === "bye") this.others.delete(from);
		else this.others.add(from);
		if (kind === "here") for (const id of open) live.add(id);
		if (kind === "hello" && this.story !== null) await this.#welcome();
		this.on.others(this.others.size);
	}

	/** A newcomer reads the journal next: nothing half-done may be in it unannounced. */
	async #welcome() {
		this.story.seal();
		if (this.growing !== null) this.#send(this.growing);
		this.growing = null;
		const open = [...this.story.nodes.values()].filter((node) => node.open).map((node) => node.id);
		await this.on.asked();
		this.#say("here", { open });
	}
}
