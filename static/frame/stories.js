// The stories on this device: listed, searched, opened, renamed, deleted (and brought back).

import { show } from "./dialogs.js";
import { Story } from "../story/story.js";
import { button, cross, make } from "./element.js";
import { nameOf } from "../story/library.js";
import { number, say } from "./language.js";

/** `on`: open(id), begin(), rename(story), delete(id, isDeleted). */
export function showStories(journal, on) {
	return show(say("do.stories"), (close) => {
		const search = make("input", { type: "search", placeholder: say("story.search"), "aria-label": say("story.search") });
		const list = make("ul", { class: "stories" });
		const undone = make("div", { role: "status" });
		const draw = async () => {
			const wanted = search.value.trim().toLocaleLowerCase();
			const found = [];
			for (const story of await journal.list()) if (await holds(journal, story, wanted)) found.push(story);
			if (wanted !== search.value.trim().toLocaleLowerCase()) return; // typed on meanwhile
			const stories = found.map((story) => row(story, on, close, draw, undone));
			list.replaceChildren(...stories);
			if (stories.length === 0) list.append(make("li", { class: "none" }, say("story.none")));
		};
		search.addEventListener("input", draw);
		draw();
		const begin = button(say("do.new"), () => { close(); on.begin(); }, { class: "go" });
		return [make("div", { class: "body" }, make("div", { class: "row" }, search, begin), undone, list)];
	});
}

/** Whether a story's name or text has the words that are looked for. */
async function holds(journal, story, wanted) {
	if (`${story.title} ${story.opening}`.toLocaleLowerCase().includes(wanted)) return true;
	const { text } = new Story(await journal.load(story.id));
	return text.toLocaleLowerCase().includes(wanted);
}

function row(story, on, close, draw, undone) {
	const title = nameOf(story) || say("story.untitled");
	const when = new Date(story.updated).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
	const open = button(make("b", { dir: "auto" }, title), () => { close(); on.open(story.id); }, { class: "story" },
		make("small", {}, `${when} · ${say("story.characters", { count: number(story.length) })}`));
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
