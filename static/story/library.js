// Stories on this device, in IndexedDB, as they happen: every change and every word that arrives.
// Knows no page and no server.

import { generated, join, lengthOf } from "./pieces.js";
import { recordOf } from "./story.js";

const DAY = 86_400_000;
const KEPT_AFTER_DELETION = 30 * DAY;
const AGAIN_MS = [1000, 2000, 4000, 8000, 15_000, 30_000]; // until what failed is tried again
const LATE_MS = 4000; // no storage in order takes as long
const OPENS_MS = 10_000; // a storage that opens at all has opened by then

export class Library {
	/** `on`: saved(), late(), failed(error), and what another tab did: renamed(id, title), deleted(id, isDeleted). */
	constructor(on) {
		this.on = on;
		this.database = null;
		this.hasOpened = false;
		this.waiting = [];
		this.writing = null;
		this.failures = 0;
		this.late = null;
		this.channel = new BroadcastChannel("continuo.stories");
		this.channel.onmessage = ({ data: { name, values } }) => this.on[name]?.(...values);
	}

	async open() {
		await this.#connect();
		await this.#purge();
	}

	/** A connection may be lost at any time, as WebKit's is in the background: then the next use opens another. One that
	 * another page stands in the way of, as it keeps an older or a newer form of the stores, has failed for now. */
	async #connect() {
		const request = indexedDB.open("continuo", 1);
		request.onupgradeneeded = () => {
			request.result.createObjectStore("stories", { keyPath: "id" });
			request.result.createObjectStore("nodes", { keyPath: "id" }).createIndex("story", "story");
			request.result.createObjectStore("arrivals", { autoIncrement: true }).createIndex("node", "node");
		};
		const database = await soon(request);
		database.onclose = () => { if (this.database === database) this.database = null; };
		database.onversionchange = () => this.#disconnect(); // a newer page wants to change the stores
		Object.assign(this, { database, hasOpened: true });
	}

	#disconnect() {
		this.database?.close();
		this.database = null;
	}

	/** `task(stores)` in a transaction of its own. */
	async #transact(mode, task) {
		if (this.database === null) await this.#connect();
		let stores;
		try {
			stores = this.#stores(mode);
		} catch (error) {
			if (error.name !== "InvalidStateError") throw error;
			await this.#connect(); // it was closed without a word
			stores = this.#stores(mode);
		}
		return task(stores);
	}

	// ---- reading ----

	/** Every story, the latest first; the deleted ones only if asked for. */
	async list({ deleted = false } = {}) {
		if (!this.hasOpened) return [];
		const all = await this.#transact("readonly", ({ stories }) => answer(stories.getAll()));
		return all.filter((story) => deleted || !story.deleted).sort((a, b) => b.updated - a.updated);
	}

	/** What `Story` is made from. `live` are open nodes that another tab is still writing. */
	async load(id, live = new Set()) {
		const [story, all, arrived] = await this.#transact("readonly", ({ stories, nodes, arrivals }) => Promise.all([
			answer(stories.get(id)), answer(nodes.index("story").getAll(id)), answer(arrivals.getAll()),
		]));
		if (story === undefined) return null;
		const known = new Map(all.filter((node) => !live.has(node.id)).map((node) => [node.id, node]));
		for (const arrival of arrived) if (known.has(arrival.node)) restore(known.get(arrival.node), arrival);
		const open = [...known.values()].filter((node) => node.open);
		for (const node of open) Object.assign(node, { open: false, reason: "interrupted" });
		const interrupted = open.filter((node) => node.put.length > 0); // else nothing had begun
		const sorted = [...known.values()].sort((a, b) => a.time - b.time);
		return { ...story, head: whole(story.head, all, live), nodes: sorted, interrupted };
	}

	// ---- writing ----

	/** Write down everything that happens to a story from now on. */
	follow(story) {
		story.watch((event) => {
			if (event.type === "arrived") this.#note(null, [adding(event)]);
			else if (event.node !== undefined) this.#note(story, this.#withRoot(story, event.node));
			else if (event.type === "moved") this.#note(story, []);
			else if (event.type === "title") {
				this.#note(story, this.#withRoot(story, story.root), story.about);
				this.#tell("renamed", story.id, story.title);
			}
			if (event.type === "finished") this.#persist();
		});
	}

	/** Ask the browser, once there is something to lose, not to clear this away by itself. */
	async #persist() {
		if (this.isPersistent !== undefined) return;
		this.isPersistent = null;
		const { storage } = navigator;
		this.isPersistent = await storage?.persisted?.() || await storage?.persist?.() || false;
	}

	/** Tell the other tabs what they could not see for themselves. */
	#tell(name, ...values) {
		this.channel.postMessage({ name, values });
	}

	/** Write a whole story, as an import needs. */
	keep(story) {
		this.#note(story, [...story.nodes.values()].map((node) => this.#putting(story, node)));
	}

	delete(id, deleted = true) {
		this.#later([({ stories }) => change(stories, id, { deleted: deleted ? Date.now() : false })]);
		this.flushed().then(() => this.#tell("deleted", id, deleted));
	}

	rename(id, title) {
		this.#later([({ stories }) => change(stories, id, { title })]);
		this.#tell("renamed", id, title);
	}

	/** Resolves when everything noted so far is on the device, or has failed to get there. */
	async flushed() {
		while (this.writing !== null) await this.writing;
	}

	get unsaved() {
		return this.waiting.length > 0 || this.writing !== null;
	}

	#note(story, tasks, news = {}) {
		if (story !== null) {
			const { id, head, text } = story;
			const about = { head: head.id, updated: Date.now(), length: text.length, opening: text.slice(0, 120), deleted: false, ...news };
			tasks.push(({ stories }) => change(stories, id, about, story.about)); // another tab may have renamed it since
		}
		this.#later(tasks);
	}

	/** A story's root is written with the first node after it: an empty story leaves nothing behind. */
	#withRoot(story, node) {
		const nodes = node.parent === story.root.id ? [story.root, node] : [node];
		return nodes.map((one) => this.#putting(story, one));
	}

	#putting(story, node) {
		const record = { ...recordOf(node), story: story.id };
		return ({ nodes, arrivals }) => {
			nodes.put(record);
			if (record.open === false) erase(arrivals.index("node"), record.id);
		};
	}

	#later(tasks) {
		this.waiting.push(...tasks);
		if (this.writing !== null || this.waiting.length === 0) return;
		this.writing = this.#write();
		this.late ??= setTimeout(() => this.on.late?.(), LATE_MS);
	}

	/** One transaction after another, each with all that has come up meanwhile; a failed one is kept, and
	 * tried again by and by. */
	async #write() {
		clearTimeout(this.timer);
		let failure = null;
		while (failure === null && this.waiting.length > 0) {
			const tasks = this.waiting.splice(0);
			failure = await this.#commit(tasks).then(() => null, (error) => error);
			if (failure !== null) this.waiting.unshift(...tasks);
		}
		this.writing = null; // in one breath with the last look at what waits: no note falls between
		clearTimeout(this.late);
		this.late = null;
		if (failure === null) {
			this.failures = 0;
			return this.on.saved();
		}
		this.#disconnect();
		this.timer = setTimeout(() => {
			this.failures += 1; // keys in between try again too, and do not count
			this.#later([]);
		}, AGAIN_MS[Math.min(this.failures, AGAIN_MS.length - 1)]);
		this.on.failed(failure);
	}

	async #commit(tasks) {
		await this.#transact("readwrite", (stores) => {
			const done = new Promise((resolve, reject) => {
				stores.transaction.oncomplete = resolve;
				stores.transaction.onabort = () => reject(stores.transaction.error ?? new Error("aborted"));
			});
			try {
				for (const task of tasks) task(stores);
			} catch (error) {
				stores.transaction.abort(); // all of it or nothing
				done.catch(() => {}); // the error says why
				throw error;
			}
			return done;
		});
	}

	#stores(mode) {
		const transaction = this.database.transaction(["stories", "nodes", "arrivals"], mode);
		const [stories, nodes, arrivals] = ["stories", "nodes", "arrivals"].map((name) => transaction.objectStore(name));
		return { transaction, stories, nodes, arrivals };
	}

	async #purge() {
		for (const { id, deleted } of await this.list({ deleted: true })) {
			if (deleted && Date.now() - deleted > KEPT_AFTER_DELETION) {
				this.#later([({ stories, nodes }) => { stories.delete(id); erase(nodes.index("story"), id); }]);
			}
		}
	}
}

function answer(request) {
	return new Promise((resolve, reject) => {
		request.onsuccess = () => resolve(request.result);
		request.onerror = () => reject(request.error);
	});
}

/** A connection, unless it takes too long: then it is closed when it comes. */
function soon(request) {
	return new Promise((resolve, reject) => {
		const timer = setTimeout(() => {
			request.onsuccess = () => request.result.close();
			reject(new DOMException("The storage does not answer.", "TimeoutError"));
		}, OPENS_MS);
		answer(request).then(resolve, reject).finally(() => clearTimeout(timer));
	});
}

function adding({ node, from, text, tokens }) {
	const arrival = { node: node.id, from, text, tokens };
	return ({ arrivals }) => arrivals.add(arrival);
}

/** The last node on the way to the head that no open one comes before. */
function whole(head, all, live) {
	const nodes = new Map(all.map((node) => [node.id, node]));
	let last = head;
	for (let node = nodes.get(head); node !== undefined; node = nodes.get(node.parent)) if (live.has(node.id)) last = node.parent;
	return last;
}

/** What had arrived when the page was closed joins its node again. */
function restore(node, { from, text, tokens }) {
	if (!node.open || from !== lengthOf(node.put)) return;
	node.put = join(node.put, generated(text, node.id, from));
	node.tokens.push(...tokens);
}

function erase(index, key) {
	const request = index.openKeyCursor(key);
	request.onsuccess = () => {
		const cursor = request.result;
		if (cursor === null) return;
		index.objectStore.delete(cursor.primaryKey);
		cursor.continue();
	};
}

/** Write these fields of a record, and where it is a new one `first` too. */
function change(store, id, fields, first = {}) {
	const request = store.get(id);
	request.onsuccess = () => store.put({ ...(request.result ?? { id, ...first }), ...fields });
}

/** The name of a story nobody named: its first words. */
export function nameOf({ title, opening = "", text = opening }) {
	const start = title || (/\S.{0,70}/.exec(text)?.[0].trimEnd() ?? "");
	return start.length > 60 ? `${start.slice(0, 60).replace(/\s+\S{0,14}$/, "")}…` : start;
}
