// The desk: the story that is open, with its text, its journal, its other tabs and the machine's pen.

import { recall, remember } from "./frame/storage.js";
import { Story } from "./story/story.js";
import { Library } from "./story/library.js";
import { dismiss, notify } from "./frame/notices.js";
import { Surface } from "./text/surface.js";
import { Tabs } from "./story/tabs.js";
import { say } from "./frame/language.js";
import { useStory } from "./machine/server.js";
import { Writing } from "./machine/writing.js";

/** Emits changed(event) of its story, heard(state) of the machine, caret(), enter(), and wanted(action) of a notice's button. */
export class Desk {
	/** `settings()` gives the parameters of a request. */
	constructor(element, painter, settings) {
		this.listeners = new Map();
		this.started = new Promise((resolve) => { this.begin = () => resolve(null); }); // when there is a story
		this.surface = new Surface(element, painter, {
			edit: (...edit) => this.story.edit(...edit),
			undo: () => this.story.undo(),
			redo: () => this.story.redo(),
			caret: () => this.#emit("caret"),
			enter: () => this.#emit("enter") ?? false,
		});
		this.writing = new Writing(settings, (state) => this.#emit("heard", state));
		this.journal = new Library({
			saved: () => dismiss("unsaved"),
			late: () => this.#say("late"),
			failed: (error) => this.#complain(error),
			renamed: (id, title) => { if (id === this.story.id) this.story.hearTitle(title); },
			deleted: (id, isDeleted) => { if (id === this.story.id) tellOfDeletion(isDeleted); },
		});
		this.tabs = new Tabs({ asked: () => this.journal.flushed(), others: (count) => tellOfTabs(count) });
		addEventListener("pagehide", () => this.tabs.rest());
		addEventListener("pageshow", ({ persisted }) => { if (persisted) this.tabs.resume(); });
	}

	on(name, listener) {
		this.listeners.set(name, listener);
	}

	#emit(name, value) {
		return this.listeners.get(name)?.(value);
	}

	/** Open the journal and the story last worked on, here or on this device. */
	async start() {
		await this.journal.open().catch((error) => this.#complain(error));
		const stories = await this.journal.list();
		const here = recall("story", "sessionStorage");
		await this.open(stories.find(({ id }) => id === here)?.id ?? stories[0]?.id ?? null);
		this.begin();
	}

	/** What was typed while the story was looked for goes on at its end. */
	#takeIn(early) {
		if (early === "") return;
		this.story.edit(this.story.text.length, 0, early);
		this.surface.select(this.story.text.length);
	}

	/** Open a story of the journal, or with null a new one. */
	async open(id) {
		if (!await this.mayLeave()) return;
		this.writing.stop();
		const live = id === null ? new Set() : await this.tabs.join(id);
		const saved = id === null ? null : await this.journal.load(id, live);
		const story = new Story(saved);
		if (saved === null) this.tabs.join(story.id); // new, or another tab deleted it meanwhile: nobody is in it
		this.show(story);
		if (saved?.interrupted.length > 0) notify("interrupted", say("saved.interrupted"), [[say("do.goOn"), () => this.#emit("wanted", "continue")]]);
	}

	/** Whether the story on the desk is kept, or its writer lets it go. */
	async mayLeave() {
		await this.journal.flushed();
		return !this.journal.unsaved || confirm(say("saved.leave"));
	}

	/** Show somebody else's story, to be read: nothing of it is kept on this device. */
	read(story) {
		this.tabs.leave();
		this.show(story, { isOurs: false });
	}

	/** Make the story that is being read one of the writer's own. */
	async keep() {
		await this.tabs.join(this.story.id);
		this.show(this.story);
		this.journal.keep(this.story);
	}

	/** Put a story on the desk, and follow it. */
	show(story, { isOurs = true } = {}) {
		this.writing.stop();
		this.story = story;
		useStory(story.id);
		this.isReading = !isOurs;
		this.surface.lock(!isOurs);
		if (isOurs) remember("story", story.id, "sessionStorage");
		story.watchers = []; // it may have been read before
		story.watch((event) => {
			if (typeof event.at === "number") this.surface.follow(event);
			if (event.type === "changed") dismiss("deleted"); // the journal takes it back with every node
			if (event.type === "moved") this.surface.catchUp();
		});
		if (isOurs) {
			this.writing.follow(story);
			this.journal.follow(story);
			this.tabs.follow(story);
		}
		const { early } = this.surface;
		this.surface.show(story);
		if (isOurs) this.surface.keepInView(story.text.length);
		story.watch((event) => { if (story === this.story) this.#emit("changed", event); });
		this.#takeIn(early);
		this.#emit("changed", { type: "opened" });
	}

	#complain(error) {
		const isRefused = !this.journal.hasOpened && error.name !== "TimeoutError";
		this.#say(error.name === "QuotaExceededError" ? "full" : isRefused ? "none" : "failed");
	}

	#say(why) {
		notify("unsaved", say("saved.not", { reason: say(`saved.${why}`) }), [[say("do.exportNow"), () => this.#emit("wanted", "exportTree")]]);
	}
}

function tellOfDeletion(isDeleted) {
	if (isDeleted) notify("deleted", say("saved.deletedElsewhere"));
	else dismiss("deleted");
}

function tellOfTabs(count) {
	if (count > 0) notify("tabs", say("saved.twoTabs"));
	else dismiss("tabs");
}
