// The stories on this device: listed, searched, opened, renamed, deleted (and brought back).

import { show } from "./dialogs.js";
import { button, cross, make } from "./element.js";
import { nameOf } from "../story/library.js";
import { findWords } from "../story/search.js";
import { Story } from "../story/story.js";
import { number, say } from "./language.js";

/** `on`: open(id, found), begin(), rename(story), delete(id, isDeleted). */
export function showStories(journal, on) {
	return show(say("do.stories"), (close) => {
		const search = make("input", { type: "search", placeholder: say("story.search"), "aria-label": say("story.search") });
		const list = make("ul", { class: "stories" });
		const undone = make("div", { role: "status" });
		const read = new Map(); // the stories that were looked into, by name
		const draw = async () => {
			const wanted = search.value.trim();
			const stories = [];
			for (const story of await journal.list()) {
				const found = wanted === "" ? null : await look(journal, read, story, wanted);
				const isNamed = nameOf(story).toLowerCase().includes(wanted.toLowerCase());
				if (isNamed || found !== null) stories.push(row(story, found, on, close, draw, undone));
			}
			if (wanted !== search.value.trim()) return; // typed on meanwhile
			list.replaceChildren(...stories);
			if (stories.length === 0) list.append(make("li", { class: "none" }, say(wanted === "" ? "story.empty" : "story.none")));
		};
		search.addEventListener("input", draw);
		draw();
		const begin = button(say("do.new"), () => { close(); on.begin(); }, { class: "go" });
		return [make("div", { class: "body" }, make("div", { class: "row" }, search, begin), undone, list)];
	});
}

async function look(journal, read, { id }, wanted) {
	if (!read.has(id)) read.set(id, new Story(await journal.load(id)));
	return findWords(read.get(id), wanted);
}

function row(story, found, on, close, draw, undone) {
	const title = nameOf(story) || say("story.untitled");
	const date = new Date(story.updated);
	const year = date.getFullYear() === new Date().getFullYear() ? undefined : "numeric"; // a phone has little room
	const when = date.toLocaleString(document.documentElement.lang, { year, month: "short", day: "numeric", hour: "numeric", minute: "2-digit" });
	const open = button(make("b", { dir: "auto" }, title), () => { close(); on.open(story.id, found); }, { class: "story" },
		make("small", {}, `${when} · ${say("story.characters", { count: number(story.length) })}`),
		...(found === null ? [] : [make("span", { class: "found", dir: "auto" }, found.before, make("mark", {}, found.match), found.after)]));
	const rename = button("✎", () => { close(); on.rename(story); }, { class: "plain", "aria-label": `${say("do.rename")}: ${title}` });
	const remove = cross(`${say("do.delete")}: ${title}`, async () => {
		await on.delete(story.id, true);
		const back = button(say("do.undoDelete"), async () => {
			await on.delete(story.id, false);
			undone.replaceChildren();
			await draw();
		});
		undone.replaceChildren(make("div", { class: "notice" }, make("span", {}, say("story.deleted", { title })), back));
		await draw();
		back.focus();
	});
	return make("li", {}, open, rename, remove);
}
