// The desk: the story that is open, with its text, its journal, its other tabs and the machine's pen.

import { recall, remember } from "./frame/storage.js";
import { Document } from "./story/story.js";
import { Journal } from "./story/library.js";
import { dismiss, notify } from "./frame/notices.js";
import { Surface } from "./text/surface.js";
import { Tabs } from "./story/tabs.js";
import { say } from "./frame/language.js";
import { Writing } from "./machine/writing.js";

export class Desk {
	/** `on`: changed(event) for the story, heard(state) for the machine, caret(), settings(), do(name). */
	constructor(element, painter, on) {
		this.on = on;
		this.surface = new Surface(element, painter, {
			edit: (...edit) => this.story.edit(...edit),
			undo: () => on.do("undo"),
			redo: () => on.do("redo"),
			caret: () => on.caret(),
		});
		this.writing = new Writing(on.settings, on.heard);
		this.journal = new Journal({
			saved: () => dismiss("unsaved"),
			late: () => this.#say("late"),
			failed: (error) => this.#complain(error),
			renamed: (id, title) => { if (id === this.story.id) this.story.hearTitle(title); },
			deleted: (id, isDeleted) => { if (id === this.story.id) tellOfDeletion(isDeleted); },
		});
		this.tabs = new Tabs({ asked: () => this.journal.flushed(), others: (count) => tellOfTabs(count) });
	}

	/** Open the journal and the story last worked on, here or on this device. */
	async start() {
		await this.journal.open().catch((error) => this.#complain(error));
		const stories = await this.journal.list();
		const here = recall("story", "sessionStorage");
		await this.open(stories.find(({ id }) => id === here)?.id ?? stories[0]?.id ?? null);
	}

	/** Open a story of the journal, or with null a new one. */
	async open(id) {
		if (!await this.mayLeave()) return;
		this.writing.stop();
		const live = id === null ? new Set() : await this.tabs.join(id);
		const saved = id === null ? null : await this.journal.load(id, live);
		this.show(new Document(saved));
		if (saved === null) await this.tabs.join(this.story.id); // new, or another tab deleted it meanwhile
		if (saved?.interrupted.length > 0) notify("interrupted", say("saved.interrupted"), [[say("do.goOn"), () => this.on.do("continue")]]);
	}

	/** Whether the story on the desk is kept, or its writer lets it go. */
	async mayLeave() {
		await this.journal.flushed();
		return !this.journal.unsaved || confirm(say("saved.leave"));
	}

	/** Put a story on the desk, and follow it. */
	show(story) {
		this.writing.stop();
		this.story = story;
		remember("story", story.id, "sessionStorage");
		story.watch((event) => {
			if (event.type === "text") this.surface.follow(event);
			if (event.type === "node") dismiss("deleted"); // the journal takes it back with every node
			if (event.type === "moved") this.surface.catchUp();
		});
		this.writing.follow(story);
		this.journal.follow(story);
		this.tabs.follow(story);
		this.surface.show(story);
		this.surface.keepInView(story.text.length);
		story.watch((event) => { if (story === this.story) this.on.changed(event); });
		this.on.changed({ type: "opened" });
	}

	#complain(error) {
		this.#say(error.name === "QuotaExceededError" ? "full" : this.journal.hasOpened ? "failed" : "none");
	}

	#say(why) {
		notify("unsaved", say("saved.not", { reason: say(`saved.${why}`) }), [[say("do.exportNow"), () => this.on.do("exportTree")]]);
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
