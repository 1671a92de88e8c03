// What can be done, by name: for keys, buttons and the menu.

import * as bar from "./tools/bar.js";
import * as dialogs from "./frame/dialogs.js";
import { find } from "./frame/element.js";
import { number, say } from "./frame/language.js";
import { dismiss, notify } from "./frame/notices.js";
import { remember } from "./frame/storage.js";
import { showStories } from "./frame/stories.js";
import { count } from "./story/count.js";
import { textOf } from "./story/pieces.js";

const CANDIDATES = 3;
const TEMPERATURES = [0.4, 0.7, 1.1];
const WRITES = ["continue", "retry", "again", "several", "temperatures", "undo", "redo", "previous", "next", "rename", "memory"];

/** `page`: the desk, and the tools around it by name. Gives what does an action. */
export function actionsOf(page) {
	const { desk, knobs, models, exchange, scene, several, word, heat, ghost, map } = page;
	const { surface, writing, journal } = desk;

	const actions = {
		continue: () => begin(() => writing.proceed(desk.story, place())),
		stop: escape,
		retry: () => begin(() => desk.story.continuation() && writing.again(desk.story, desk.story.continuation())),
		again: () => begin(() => desk.story.continuation() && sameAgain(desk.story.continuation())),
		several: () => begin(() => several.open(writing.several(desk.story, place(), CANDIDATES))),
		temperatures: () => begin(() => several.open(writing.temperatures(desk.story, place(), TEMPERATURES))),
		undo: () => desk.story.undo(),
		redo: () => desk.story.redo(),
		previous: () => desk.story.sideways(-1),
		next: () => desk.story.sideways(1),
		alternatives: () => { if (!word.open()) bar.status(say("word.unknown")); },
		ban,
		heat: () => heat.toggle(),
		ghost: () => { ghost.toggle(); bar.status(say(ghost.isOn ? "ghost.on" : "ghost.off")); },
		heatTable: () => heat.table(),
		map: () => showMap(find("#map").hidden),
		stories: () => showStories(journal, { open: openAt, begin: () => act("new"), rename, delete: remove }),
		new: () => desk.open(null).then(() => surface.focus()),
		rename: () => rename(desk.story),
		memory: async () => { const about = await dialogs.askForMemory(desk.story); if (about !== null) desk.story.instruct(about); },
		settings: () => knobs.toggle(),
		count: () => bar.status(counted()),
		read: () => { document.documentElement.classList.toggle("reading"); surface.focus(); },
		print: () => print(),
		copyColour: () => exchange.copyText(true),
		copyPlain: () => exchange.copyText(false),
		share: () => exchange.share(),
		passage: () => exchange.showPassage(),
		exportTree: () => exchange.save("json"),
		import: () => exchange.files.click(),
		key: async () => { if (await dialogs.askForKey()) await models.learn(); },
		help: () => dialogs.help(),
		write: () => surface.focus(),
	};

	async function act(name) {
		if (desk.story === undefined) await desk.started; // a key may be quicker than the storage
		if (desk.isReading && WRITES.includes(name)) await exchange.writeOn();
		return actions[name]();
	}

	/** Where the machine is to write; at the end of a scene the turn is the others'. */
	function place() {
		scene.yield();
		return surface.selected.end;
	}

	/** Begin to write, unless that is going on; what was wrong before is settled. */
	function begin(task) {
		if (writing.busy) return;
		dismiss("error");
		dismiss("interrupted");
		task();
	}

	/** Esc: the machine stops; else what is open closes; else the keyboard goes back to the text. */
	function escape() {
		if (document.documentElement.classList.contains("reading")) act("read");
		else if (word.isOpen) word.hide();
		else if (writing.busy) writing.stop();
		else if (several.isOpen) several.close();
		else surface.focus();
	}

	/** Ask for the same once more. */
	function repeat(run) {
		if (run.aside) act(run.nodes.length > 1 ? "several" : "temperatures");
		else begin(() => writing.repeat(run));
	}

	async function sameAgain(node) {
		const before = textOf(node.put);
		const run = await writing.again(desk.story, node, { same: true });
		const after = textOf(run.firsts[0].put);
		const isSame = after.startsWith(before) || before.startsWith(after); // either may have been stopped early
		if (after !== "") bar.status(say(isSame ? "status.exact" : "status.differs"));
	}

	function showMap(isShown) {
		find("#map").hidden = !isShown;
		remember("map", isShown ? "shown" : "hidden");
		map.draw(desk.story);
		if (isShown) map.focus();
	}

	/** The selected words are never written again, until that is taken back. */
	function ban() {
		const { start, end } = surface.selected;
		const phrase = desk.story.text.slice(start, end).trim();
		if (phrase === "") return bar.status(say("ban.select"));
		const before = knobs.value("banned_phrases") ?? [];
		const use = (phrases) => { knobs.set("banned_phrases", phrases); knobs.draw(); };
		use([...before.filter((other) => other !== phrase), phrase]);
		notify("ban", say("ban.done", { text: phrase }), [[say("do.undo"), () => use(before)]]);
	}

	function counted() {
		const { words, characters, share } = count(exchange.pieces);
		return say("story.count", { words: number(words), characters: number(characters), percent: number(share * 100) });
	}

	/** Open a story, where words were looked for at them. */
	async function openAt(id, found) {
		await desk.open(id);
		if (found === null || desk.story.id !== id) return;
		desk.story.go(found.node);
		surface.select(found.start, found.end);
		surface.keepInView(found.start);
		surface.focus();
	}

	async function rename({ id, title: before }) {
		const title = await dialogs.askForName(before);
		if (title === null) return;
		if (id === desk.story.id) desk.story.rename(title);
		else journal.rename(id, title);
	}

	async function remove(id, isDeleted) {
		if (isDeleted && id === desk.story.id) await desk.open(null); // what is still being written would bring it back
		journal.delete(id, isDeleted);
		await journal.flushed();
	}

	return { act, repeat };
}
