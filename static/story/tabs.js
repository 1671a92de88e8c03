// The same story open in several tabs: each writes its own nodes into one tree and tells the others.
// Knows no page and no storage.

import { makeId } from "../frame/storage.js";
import { recordOf } from "./story.js";

const PATIENCE_MS = 3000; // with a tab that is there, and busy
const GUESS_MS = 120; // where the browser does not tell who is there: most tabs answer within it

export class Tabs {
	/** `on`: asked() resolves when all is written down; others(count). */
	constructor(on) {
		this.on = on;
		this.me = makeId();
		this.others = new Set();
		this.channel = null;
		this.story = null;
		this.growing = null;
		this.unlock = () => {};
		this.stopWaiting = () => {};
	}

	/** Enter a story's room; gives the open nodes that others are still writing. */
	async join(id) {
		this.leave();
		const live = new Set();
		const channel = new BroadcastChannel(`continuo.story.${id}`);
		channel.onmessage = ({ data }) => this.#hear(data, live);
		this.channel = channel;
		const others = await this.#enter(channel);
		if (this.channel !== channel) return live; // another room was entered meanwhile
		await new Promise((listened) => {
			const enough = () => listened(null);
			const answered = new Set();
			channel.addEventListener("message", ({ data: { kind, from, to } }) => {
				if (kind === "bye" || to === this.me) answered.add(from);
				if (others !== null && answered.size >= others) enough();
			});
			this.stopWaiting = enough;
			setTimeout(enough, others === null ? GUESS_MS : PATIENCE_MS);
			if (others === 0) enough();
			this.#say("hello");
		});
		return live;
	}

	/** How many other tabs are in the room: each holds a lock of its name. Null where a page may hold none, as on plain HTTP. */
	async #enter(channel) {
		const { name } = channel;
		try {
			await new Promise((entered, refused) => {
				const stay = () => new Promise((leave) => {
					entered(null);
					if (this.channel !== channel) return leave(null);
					this.unlock = () => leave(null);
				});
				navigator.locks.request(name, { mode: "shared" }, stay).catch(refused);
			});
			const { held } = await navigator.locks.query();
			return held.filter((lock) => lock.name === name).length - 1;
		} catch {
			return null;
		}
	}

	leave() {
		if (this.channel === null) return;
		this.rest();
		this.stopWaiting();
		this.channel.close();
		this.others.clear();
		Object.assign(this, { channel: null, story: null, growing: null });
		this.on.others(0);
	}

	/** The page is closed, or put aside for coming back to. */
	rest() {
		this.unlock();
		this.#say("bye");
	}

	async resume() {
		if (this.channel === null) return;
		await this.#enter(this.channel);
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
		if (kind === "hello") await this.#welcome(from);
		this.on.others(this.others.size);
	}

	/** A newcomer reads the journal next: nothing half-done may be in it unannounced. */
	async #welcome(to) {
		this.story?.seal();
		if (this.growing !== null) this.#send(this.growing);
		this.growing = null;
		const nodes = [...this.story?.nodes.values() ?? []];
		const open = nodes.filter((node) => node.open).map((node) => node.id);
		await this.on.asked();
		this.#say("here", { to, open });
	}
}
