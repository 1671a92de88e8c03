// Stories that other writing programs keep as JSON: mikupad's sessions, KoboldAI's and KoboldAI Lite's saves, loom's
// trees. Knows no page.
//
//   mikupad   {prompt: [{type: "user" or the machine's, content}], memoryTokens, authorNoteTokens, authorNoteDepth}
//   KoboldAI  {prompt, actions: [text], memory, authorsnote, worldinfo: [{key: names, content}]}: who wrote an action it
//             does not say, so the writer did
//   loom      {root: {id, text, children, meta: {source}}, selected_node_id}

import { generated, written } from "../pieces.js";
import { Story } from "../story.js";

/** A new story of such a file's data, or null where it is none of them. */
export function readForeign(data) {
	if (Array.isArray(data?.prompt)) return readMikupad(data);
	if (typeof data?.prompt === "string" && Array.isArray(data.actions)) return readKobold(data);
	if (data?.root && typeof data.root === "object") return readLoom(data);
	return null;
}

function readMikupad({ prompt, memoryTokens, authorNoteTokens, authorNoteDepth }) {
	const story = new Story();
	const chunks = prompt.filter((chunk) => typeof chunk?.content === "string");
	story.edit(0, 0, chunks.flatMap(({ type, content }, index) => (
		type === "user" ? written(content) : generated(content, `mikupad ${index}`))));
	story.memory = inside(memoryTokens);
	story.note = inside(authorNoteTokens);
	if (Number.isInteger(authorNoteDepth) && authorNoteDepth > 0) story.noteDepth = authorNoteDepth;
	return story;
}

/** A text between its prefix and suffix, in which a line break is written \n. */
function inside(about) {
	const [prefix, text, suffix] = ["prefix", "text", "suffix"].map((name) => string(about?.[name]));
	return text === "" ? "" : prefix.replaceAll("\\n", "\n") + text + suffix.replaceAll("\\n", "\n");
}

function readKobold({ prompt, actions, memory, authorsnote, worldinfo }) {
	const story = new Story();
	story.edit(0, 0, prompt + actions.map(string).join(""));
	story.memory = string(memory);
	story.note = string(authorsnote);
	const entries = Array.isArray(worldinfo) ? worldinfo : [];
	story.world = entries.map((entry) => `${string(entry?.key)}: ${string(entry?.content).replace(/\s+/g, " ")}`).join("\n");
	return story;
}

/** Each of loom's nodes goes on where its parent ends, as here each continuation does. */
function readLoom({ root, selected_node_id: selected }) {
	const story = new Story();
	const names = new Map();
	const queue = [{ node: root, parent: story.root.id, length: 0 }];
	let latest = story.root;
	for (const { node, parent, length } of queue) { // an array is walked while it grows
		if (names.size > 50_000) break; // a file that goes in a circle cannot be JSON; one too large can
		const text = string(node?.text);
		story.go(parent);
		if (text !== "") latest = added(story, text, length, node?.meta?.source === "AI");
		const here = text === "" ? parent : latest.id;
		names.set(node?.id, here);
		const children = Array.isArray(node?.children) ? node.children : [];
		queue.push(...children.map((child) => ({ node: child, parent: here, length: length + text.length })));
	}
	story.go(names.get(selected) ?? latest.id);
	return story;
}

function added(story, text, at, isMachines) {
	if (!isMachines) {
		story.edit(at, 0, text);
		return story.head;
	}
	const node = story.begin(at);
	story.append(node, text);
	story.finish(node);
	return node;
}

function string(value) {
	return typeof value === "string" ? value.replace(/\r\n?/g, "\n") : "";
}
