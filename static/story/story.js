// A story: a tree of changes, and the text at one of its nodes, each character with its author.
// Knows no page, no server, no storage; whoever wants to hear of changes asks `watch`:
//
//   changed   {node, isNew, at, removed, put, by}: the writer edited, or a continuation began in the text
//   begun     {node}: a continuation began aside
//   arrived   {node, from, text, tokens, at, removed, put, by}: words of one came; `at` is null where it is aside
//   finished  {node}   moved {}: the text is another node's   title {}: or memory, world, note, role   tree {}: another tab's doing
//
// A node changes its parent's text: at `at`, `cut` went out and `put` came in (lists of pieces).
// Nodes are only ever added, so going back, forth and sideways forgets nothing.

import { makeId as randomId } from "../frame/storage.js";
import { find, generated, join, lengthOf, replace, slice, textOf, written } from "./pieces.js";
import { Tokens } from "./tokens.js";

const BURST_MS = 1500; // a pause this long between two keys begins a new node
const BURST_LENGTH = 300;

export class Story {
	/** `saved` is what `toJSON` gave; without it the story is new and empty. */
	constructor(saved = null, { makeId = randomId, now = Date.now } = {}) {
		this.makeId = makeId;
		this.now = now;
		this.latest = 0;
		this.watchers = [];
		this.mine = new Set(); // nodes made here: another tab's are never written to
		this.id = saved?.id ?? makeId();
		this.title = saved?.title ?? "";
		this.memory = saved?.memory ?? ""; // what the model is always given first
		this.world = saved?.world ?? ""; // a line for each person, place and thing, given where its name comes up
		this.note = saved?.note ?? ""; // and what it is given `noteDepth` lines above the pen
		this.noteDepth = saved?.noteDepth ?? 3;
		this.role = saved?.role ?? ""; // who of a scene's cast the writer is
		this.nodes = new Map();
		this.children = new Map();
		const nodes = saved?.nodes ?? [{ id: makeId(), parent: null, kind: "start", time: now(), at: 0, cut: [], put: [] }];
		for (const node of nodes) this.#place(node);
		this.root = nodes.find((node) => node.parent === null);
		this.head = this.root;
		this.favourites = new Map(); // the child last walked through, by parent
		this.pieces = [];
		this.#text = "";
		this.#walk(this.nodes.get(saved?.head) ?? this.root);
	}

	#text;

	get text() {
		this.#text ??= textOf(this.pieces);
		return this.#text;
	}

	watch(listener) {
		this.watchers.push(listener);
	}

	#tell(event) {
		for (const listener of this.watchers) listener(event);
	}

	#place(node) {
		this.nodes.set(node.id, node);
		if (node.tokens && !node.open) node.tokens = new Tokens(node.tokens);
		if (node.parent === null) return;
		if (!this.children.has(node.parent)) this.children.set(node.parent, []);
		this.children.get(node.parent).push(node);
	}

	/** The children of a node, in the order they were made; not those that came to nothing. */
	childrenOf(node) {
		const children = this.children.get(node.id) ?? [];
		return children.filter((child) => !isBlank(child) || child === this.head || this.children.has(child.id));
	}

	#add(fields) {
		this.latest = Math.max(this.now(), this.latest + 0.001); // tells siblings of one millisecond apart
		const node = { id: this.makeId(), parent: this.head.id, time: this.latest, cut: [], put: [], ...fields };
		this.#place(node);
		this.mine.add(node.id);
		return node;
	}

	#change(at, length, put) {
		const cut = replace(this.pieces, at, length, put);
		this.#text = null;
		return cut;
	}

	#arrive(node) {
		this.favourites.set(node.parent, node.id);
		this.head = node;
	}

	// ---- the writer ----

	/** The writer replaces `length` characters at `at` by a text or by pieces. */
	edit(at, length, put, { typing = false } = {}) {
		const pieces = typeof put === "string" ? written(put) : put;
		const change = { at, length, put: pieces };
		const cut = this.#change(at, length, pieces);
		const growing = typing && this.#growsWith(change);
		const node = growing ? this.#grow(change, cut) : this.#add({ kind: "edit", at, cut, put: pieces, typing });
		this.#arrive(node);
		this.#tell({ type: "changed", node, isNew: !growing, at, removed: length, put: textOf(pieces), by: "writer" });
	}

	#growsWith({ at, length }) {
		const { head } = this;
		if (!head.typing || !this.mine.has(head.id) || this.childrenOf(head).length > 0) return false;
		if (this.now() - (head.touched ?? head.time) > BURST_MS) return false;
		const end = head.at + lengthOf(head.put);
		return at <= end && at + length >= head.at && end - head.at < BURST_LENGTH;
	}

	/** One more key of the same burst: `change` came after the head's, and touches what it put. */
	#grow({ at, length, put }, cut) {
		const { head } = this;
		const before = Math.max(0, head.at - at); // cut to the left of what the head had put
		const after = Math.max(0, at + length - head.at - lengthOf(head.put));
		head.cut = join(slice(cut, 0, before), head.cut, slice(cut, length - after));
		const put0 = [...head.put];
		replace(put0, Math.max(0, at - head.at), length - before - after, put);
		Object.assign(head, { put: put0, at: Math.min(at, head.at), touched: this.now() });
		return head;
	}

	// ---- the machine ----

	/**
	 * A continuation begins: `length` characters at `at` give way to it, and it starts with `given`.
	 * With `aside` the text stays as it is, and the continuation waits in the tree to be taken.
	 */
	begin(at, length = 0, { given = "", tokens = [], aside = false, ...about } = {}) {
		const node = this.#add({ kind: "continuation", at, open: true, given: given.length, tokens: [...tokens], ...about });
		node.put = generated(given, node.id);
		node.cut = slice(this.pieces, at, at + length);
		if (aside) {
			this.#tell({ type: "begun", node });
		} else {
			this.#change(at, length, node.put);
			this.#arrive(node);
			this.#tell({ type: "changed", node, isNew: true, at, removed: length, put: given, by: "machine" });
		}
		return node;
	}

	/** What arrived goes to the node's end; the text follows where the node is the head. */
	append(node, text, tokens = []) {
		const from = lengthOf(node.put);
		const put = generated(text, node.id, from);
		node.put = join(node.put, put);
		node.tokens.push(...tokens);
		const at = node === this.head ? node.at + from : null;
		if (at !== null) this.#change(at, 0, put);
		this.#tell({ type: "arrived", node, from, text, tokens, at, removed: 0, put: text, by: "machine" });
	}

	finish(node, about = {}) {
		Object.assign(node, about, { open: false, tokens: new Tokens(node.tokens) });
		this.#tell({ type: "finished", node });
	}

	/** A word the model offered stands in the place of another. */
	replaceWord({ start, end }, text) {
		this.finish(this.begin(start, end - start, { given: text }), { reason: "chosen" });
	}

	// ---- walking ----

	/** A node, its parent, and so on up to the start. */
	*upwards(node = this.head) {
		for (; node !== undefined; node = this.nodes.get(node.parent)) yield node;
	}

	#walk(target) {
		const there = [...this.upwards(target)].reverse();
		const here = [...this.upwards()].reverse();
		let shared = 0;
		while (here[shared] !== undefined && here[shared] === there[shared]) shared += 1;
		for (const node of here.slice(shared).reverse()) this.#change(node.at, lengthOf(node.put), node.cut);
		for (const node of there.slice(shared)) this.#change(node.at, lengthOf(node.cut), node.put);
		for (const node of there.slice(1)) this.favourites.set(node.parent, node.id);
		this.head = target;
	}

	/** Go to any node of the tree; the text becomes what it was there. */
	go(id) {
		const target = this.nodes.get(id);
		if (target === undefined || target === this.head) return false;
		this.#walk(target);
		this.#tell({ type: "moved" });
		return true;
	}

	undo() {
		return this.go(this.head.parent);
	}

	/** The child last walked through, or else the newest. */
	next() {
		const children = this.childrenOf(this.head);
		return children.find((node) => node.id === this.favourites.get(this.head.id)) ?? children.at(-1);
	}

	redo() {
		return this.go(this.next()?.id);
	}

	/** The nearest continuation on the way from the head to the start; null where there is none. */
	continuation() {
		for (const node of this.upwards()) {
			if (node.kind === "continuation") return node.run === undefined ? node : this.nodes.get(node.run);
		}
		return null;
	}

	/** The alternatives at the place of the nearest continuation, and which of them the text holds. */
	alternatives() {
		const node = this.continuation();
		if (node === null) return { nodes: [], index: -1 };
		const nodes = this.childrenOf(this.nodes.get(node.parent)).filter(isFirst);
		return { nodes, index: nodes.indexOf(node) };
	}

	/** Go to the next (1) or the previous (-1) alternative, as far along as it was last left. */
	sideways(step) {
		const { nodes, index } = this.alternatives();
		if (nodes.length < 2) return false;
		return this.go(this.#deepest(nodes[(index + step + nodes.length) % nodes.length]).id);
	}

	#deepest(node) {
		const favourite = (one) => this.nodes.get(this.favourites.get(one.id));
		while (favourite(node) !== undefined) node = favourite(node);
		return node;
	}

	// ---- origins ----

	/** The token that the character at `at` came with: {node, index, token, start, end}, or null. */
	tokenAt(at) {
		const { index: place, start } = find(this.pieces, at);
		const piece = this.pieces[place];
		const node = this.nodes.get(piece?.by);
		if (node === undefined) return null;
		let begins = start - piece.from; // where the continuation's first character would be in the text
		for (const [index, token] of [...node.tokens].entries()) {
			const ends = begins + token.length;
			if (at >= begins && at < ends) {
				return { node, index, token, start: Math.max(start, begins), end: Math.min(start + piece.text.length, ends) };
			}
			begins = ends;
		}
		return null;
	}

	rename(title) {
		this.title = title;
		this.#tell({ type: "title" });
	}

	/** What is kept of a story beside its tree. */
	get about() {
		const { title, memory, world, note, noteDepth, role } = this;
		return { title, memory, world, note, noteDepth, role };
	}

	/** {memory, world, note, noteDepth, role}: what the model is told besides the text, and as whom the writer speaks. */
	instruct(about) {
		Object.assign(this, about);
		this.#tell({ type: "title" });
	}

	/** Another tab gave the story a name; that tab writes it down. */
	hearTitle(title) {
		this.title = title;
		this.#tell({ type: "tree" });
	}

	/** No more keys join the head's burst: another tab may build on it from now on. */
	seal() {
		this.head.typing = false;
	}

	/** A finished node that another tab made joins the tree; the text stays as it is. */
	adopt(node) {
		if (this.nodes.has(node.id)) return;
		this.#place(node);
		this.#tell({ type: "tree" });
	}

	toJSON() {
		return { id: this.id, ...this.about, head: this.head.id, nodes: [...this.nodes.values()].map(recordOf) };
	}
}

/** A node as plain data, to be kept, sent and written to files. */
export function recordOf(node) {
	return { ...node, tokens: node.tokens && [...node.tokens] };
}

/** A continuation of which no word ever came. */
function isBlank(node) {
	return node.kind === "continuation" && node.open === false && node.put.length === 0;
}

/** A continuation that begins where it began, not one that goes on after an edit in mid-stream. */
function isFirst(node) {
	return node.kind === "continuation" && node.run === undefined;
}
