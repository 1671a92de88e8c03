// Stories as files: plain text, Markdown, HTML with colours, JSON with the whole tree; and back.
// Knows no page.

import { makeId } from "../../frame/storage.js";
import { nameOf } from "../library.js";
import { arePieces, generated, join, written } from "../pieces.js";
import { Story } from "../story.js";
import { readForeign } from "./foreign.js";

export const FORMATS = {
	txt: { type: "text/plain", write: (story) => story.text },
	md: { type: "text/markdown", write: (story) => mark(story.pieces) },
	html: { type: "text/html", write: writePage },
	json: { type: "application/json", write: (story, settings) => JSON.stringify({ continuo: 1, settings, ...story.toJSON() }) },
};

/** A file's name and contents. JSON takes the settings along that the story was written with. */
export function writeFile(story, format, settings = {}) {
	const name = nameOf(story).replace(/[\\/:*?"<>|\s\x00-\x1f]+/g, " ").trim() || "story";
	const { type, write } = FORMATS[format];
	return { name: `${name}.${format}`, type: `${type};charset=utf-8`, text: write(story, settings) };
}

/** The settings that came with a story's file; none where it has none. */
export function settingsIn(text) {
	try {
		const { continuo, settings } = JSON.parse(text);
		return continuo === 1 && settings !== null && typeof settings === "object" ? settings : {};
	} catch {
		return {}; // no JSON
	}
}

/** A new story from a file's name and text. Throws an Error that says why it cannot. */
export function readFile(name, text) {
	const plainName = name.replace(/\.\w+$/, "");
	if (/\.(json|story)$/i.test(name)) return readData(text, plainName);
	const clean = text.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n");
	const story = new Story();
	const body = /\.html?$/i.test(name) ? articleOf(clean) : clean;
	story.edit(0, 0, /\.(html?|md)$/i.test(name) ? unmark(body) : written(body));
	story.title = plainName;
	return story;
}

function readData(text, name) {
	let data;
	try {
		data = JSON.parse(text);
	} catch {
		throw new Error("notOurs");
	}
	if (data?.continuo !== undefined) return readTree(data);
	const story = readForeign(data);
	if (story === null) throw new Error("notOurs");
	story.title = name;
	return story;
}

function readTree(saved) {
	const isOurs = saved?.continuo === 1 && Array.isArray(saved.nodes) && saved.nodes.every(isNode);
	if (!isOurs || !isTree(saved)) throw new Error("notOurs");
	return renamed(saved);
}

/** Whether every node hangs on one root, where the story starts, and the head is among them. */
function isTree({ nodes, head }) {
	const children = Map.groupBy(nodes, ({ parent }) => parent);
	const hanging = new Set([null]);
	for (const id of hanging) for (const child of children.get(id) ?? []) hanging.add(child.id); // a Set is walked while it grows
	const roots = children.get(null) ?? [];
	return roots.length === 1 && roots[0].kind === "start" && hanging.size === nodes.length + 1 && hanging.has(head);
}

function isNode(node) {
	const isOfAKind = ["start", "edit"].includes(node?.kind) || (node?.kind === "continuation" && hasTokens(node));
	return isOfAKind && typeof node.id === "string" && Number.isFinite(node.time)
		&& isCount(node.at) && arePieces(node.cut) && arePieces(node.put);
}

function hasTokens({ tokens, given = 0 }) {
	const isToken = (token) => isCount(token?.length) && Array.isArray(token.top) && token.top.every((one) => typeof one?.text === "string");
	return isCount(given) && Array.isArray(tokens) && tokens.every(isToken);
}

function textOr(value) {
	return typeof value === "string" ? value : "";
}

function isCount(value) {
	return Number.isInteger(value) && value >= 0;
}

/** An imported story stands beside the one it was exported from: every node gets a new name. */
function renamed(saved) {
	const names = new Map(saved.nodes.map((node) => [node.id, makeId()]));
	const continuations = new Map(saved.nodes.filter(({ kind }) => kind === "continuation").map(({ id }) => [id, names.get(id)]));
	const pieces = (list) => list.map((piece) => ({ ...piece, by: continuations.get(piece.by) ?? piece.by }));
	const nodes = saved.nodes.map((node) => ({
		...node, id: names.get(node.id), parent: names.get(node.parent) ?? null, run: continuations.get(node.run),
		cut: pieces(node.cut), put: pieces(node.put), open: false, typing: false,
	}));
	const { memory, world, note, noteDepth, role } = saved;
	const about = { memory: textOr(memory), world: textOr(world), note: textOr(note), role: textOr(role), noteDepth: isCount(noteDepth) ? noteDepth : undefined };
	return new Story({ id: makeId(), title: textOr(saved.title), ...about, head: names.get(saved.head), nodes });
}

// ---- text with its authors ----

function escape(text) {
	return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** The machine's words in <ins>, which Markdown and HTML both know. */
export function mark(pieces) {
	return pieces.map(({ text, by }) => (by === null ? escape(text) : `<ins>${escape(text)}</ins>`)).join("").replaceAll("</ins><ins>", "");
}

function unmark(source) {
	const parts = source.split(/<ins>|<\/ins>/);
	const plain = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
	return join(parts.flatMap((part, index) => (index % 2 ? generated(plain(part), "imported", index * 1e6) : written(plain(part)))));
}

/** The text of a page; of its tags only <ins> stays. */
function articleOf(page) {
	const inner = /<article>([^]*)<\/article>/.exec(page)?.[1] ?? page;
	return inner.replace(/<(?!\/?ins>)[^>]*>/g, "");
}

function writePage(story) {
	const title = escape(nameOf(story));
	return `<!doctype html>
<html><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title>
<style>body{max-width:42rem;margin:3rem auto;padding:0 1.2rem;font:1.2rem/1.7 Georgia,serif;color:#1f1d1a;background:#fbf9f5}article{white-space:pre-wrap}ins{color:#b3261e;text-decoration:underline 1px #b3261e59;text-underline-offset:.28em}</style>
<article>${mark(story.pieces)}</article>
</html>
`;
}
