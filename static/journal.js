// Stories on this device, in IndexedDB, as they happen: every change and every word that arrives.
// Knows no page and no server.

import { generated, join, lengthOf, textOf } from "./pieces.js";

const DAY = 86_400_000;
const KEPT_AFTER_DELETION = 30 * DAY;

export class Journal {
	/** `on`: saved(), failed(error). */
	constructor(on) {
		Object.assign(this, { on, database: null, waiting: [], writing: null });
	}

	async open() {
		const request = indexedDB.open("continuo", 1);
		request.onupgradeneeded = () => {
			request.result.createObjectStore("stories", { keyPath: "id" });
			request.result.createObjectStore("nodes", { keyPath: "id" }).createIndex("story", "story");
			request.result.createObjectStore("arrivals", { autoIncrement: true }).createIndex("node", "node");
		};
		this.database = await answer(request);
		await this.#purge();
	}

	// ---- reading ----

	/** Every story, the latest first; the deleted ones only if asked for. */
	async list({ deleted = false } = {}) {
		if (this.database === null) return [];
		const all = await answer(this.#stores("readonly").stories.getAll());
		return all.filter((story) => deleted || !story.deleted).sort((a, b) => b.updated - a.updated);
	}

	/** What `Document` is made from. `live` are open nodes that another tab is still writing. */
	async load(id, live = new Set()) {
		const { stories, nodes, arrivals } = this.#stores("readonly");
		const [story, all, arrived] = await Promise.all([
			answer(stories.get(id)), answer(nodes.index("story").getAll(id)), answer(arrivals.getAll()),
		]);
		if (story === undefined) return null;
		const known = new Map(all.filter((node) => !live.has(node.id)).map((node) => [node.id, node]));
		for (const arrival of arrived) if (known.has(arrival.node)) restore(known.get(arrival.node), arrival);
		const open = [...known.values()].filter((node) => node.open);
		for (const node of open) Object.assign(node, { open: false, reason: "interrupted" });
		const interrupted = open.filter((node) => node.put.length > 0); // else nothing had begun
		const sorted = [...known.values()].sort((a, b) => a.time - b.time);
		const head = live.has(story.head) ? all.find((node) => node.id === story.head).parent : story.head;
		return { id, title: story.title, head, nodes: sorted, interrupted };
	}

	// ---- writing ----

	/** Write down everything that happens to a story from now on. */
	follow(story) {
		story.watch((event) => {
			if (event.type === "node") this.#note(story, this.#withRoot(story, event.node));
			else if (event.type === "arrived") this.#note(null, [adding(event)]);
			else if (event.type === "moved") this.#note(story, []);
			else if (event.type === "title") this.#note(story, this.#withRoot(story, story.root), { title: story.title });
		});
	}

	/** Write a whole story, as an import needs. */
	keep(story) {
		this.#note(story, [...story.nodes.values()].map((node) => this.#putting(story, node)));
	}

	delete(id, deleted = true) {
		this.#later([({ stories }) => change(stories, id, { deleted: deleted ? Date.now() : false })]);
	}

	rename(id, title) {
		this.#later([({ stories }) => change(stories, id, { title })]);
	}

	/** Resolves when everything noted so far is on the device, or has failed to get there. */
	async flushed() {
		while (this.writing !== null) await this.writing;
	}

	get unsaved() {
		return this.waiting.length > 0;
	}

	#note(story, tasks, news = {}) {
		if (story !== null) {
			const { id, title, head, text } = story;
			const about = { head: head.id, updated: Date.now(), length: text.length, opening: text.slice(0, 120), deleted: false, ...news };
			tasks.push(({ stories }) => change(stories, id, about, { title })); // another tab may have renamed it since
		}
		this.#later(tasks);
	}

	/** A story's root is written with the first node after it: an empty story leaves nothing behind. */
	#withRoot(story, node) {
		const nodes = node.parent === story.root.id ? [story.root, node] : [node];
		return nodes.map((one) => this.#putting(story, one));
	}

	#putting(story, node) {
		const copy = { ...node, story: story.id, put: [...node.put], tokens: node.tokens && [...node.tokens] };
		return ({ nodes, arrivals }) => {
			nodes.put(copy);
			if (copy.open === false) erase(arrivals.index("node"), copy.id);
		};
	}

	#later(tasks) {
		this.waiting.push(...tasks);
		if (this.writing === null && this.waiting.length > 0) this.writing = this.#write();
	}

	/** One transaction after another, each with all that has come up meanwhile; a failed one is kept. */
	async #write() {
		let failure = null;
		while (failure === null && this.waiting.length > 0) {
			const tasks = this.waiting.splice(0);
			failure = await this.#commit(tasks).then(() => null, (error) => error);
			if (failure !== null) this.waiting.unshift(...tasks);
		}
		this.writing = null; // in one breath with the last look at what waits: no note falls between
		if (failure === null) this.on.saved();
		else this.on.failed(failure);
	}

	async #commit(tasks) {
		if (this.database === null) throw new DOMException("There is no storage.", "InvalidStateError");
		const stores = this.#stores("readwrite");
		const done = new Promise((resolve, reject) => {
			stores.transaction.oncomplete = resolve;
			stores.transaction.onabort = () => reject(stores.transaction.error ?? new Error("aborted"));
		});
		for (const task of tasks) task(stores);
		await done;
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

function adding({ node, from, text, tokens }) {
	const arrival = { node: node.id, from, text, tokens };
	return ({ arrivals }) => arrivals.add(arrival);
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
export function nameOf({ title, opening, text, pieces }) {
	const start = title || (opening ?? text ?? textOf(pieces)).trim().split("\n")[0];
	return start.length > 48 ? `${start.slice(0, 47).trimEnd()}…` : start;
}
