// What goes out and what comes in: links, pictures, copies, files.

import * as bar from "./tools/bar.js";
import { copy } from "./text/clipboard.js";
import { offerLink } from "./frame/dialogs.js";
import { make } from "./frame/element.js";
import { readable } from "./frame/keys.js";
import { say } from "./frame/language.js";
import { dismiss, notify } from "./frame/notices.js";
import { readFile, settingsIn, writeFile } from "./story/formats/files.js";
import { nameOf } from "./story/library.js";
import { passageOf } from "./story/formats/passage.js";
import { slice, written } from "./story/pieces.js";
import { fromFragment, MARK, toFragment } from "./story/formats/share.js";
import { Story } from "./story/story.js";
import { showPassage } from "./tools/passage.js";

export class Exchange {
	constructor(desk, knobs, models) {
		this.desk = desk;
		this.knobs = knobs;
		this.models = models;
		this.files = make("input", { type: "file", accept: ".txt,.md,.html,.json,.story", on: { change: () => this.#read() } });
	}

	// ---- out ----

	/** The selection, or else all of the text. */
	get #bounds() {
		const { start, end } = this.desk.surface.selected;
		return end > start ? { start, end } : { start: 0, end: this.desk.story.text.length };
	}

	/** The pieces of the selection, or of the whole text. */
	get pieces() {
		const { start, end } = this.#bounds;
		return slice(this.desk.story.pieces, start, end);
	}

	copyText(inColour) {
		this.#tell(copy(this.pieces, inColour));
	}

	#tell(isCopied) {
		bar.status(isCopied ? say("story.copied") : say("story.copyFailed", { key: readable("mod c") }));
	}

	/** A link that holds the story; or, where that would be too long, the story as a file. */
	async share() {
		const fragment = await toFragment(this.desk.story);
		if (fragment === null) return notify("share", say("share.tooLong"), [[say("share.file"), () => this.save("json")]]);
		const link = `${location.origin}${location.pathname}${fragment}`;
		if (await offerLink(link)) this.#tell(copy(written(link), false));
	}

	/** The selection, or all of it, as a picture and as HTML. */
	async showPassage() {
		const { story } = this.desk;
		const model = this.models.titleOf(story.continuation()?.model);
		const credit = model === undefined ? "Continuo" : say("passage.by", { model });
		const passage = passageOf(story, this.#bounds, credit);
		if (passage.paragraphs.length === 0) return bar.status(say("passage.empty"));
		const done = await showPassage(passage);
		if (done === "long") bar.status(say("passage.tooLong"));
		else if (done === "copied" || done === "failed") this.#tell(done === "copied");
	}

	save(format) {
		const { name, type, text } = writeFile(this.desk.story, format, this.knobs.settings());
		const address = URL.createObjectURL(new Blob([text], { type }));
		make("a", { href: address, download: name }).click();
		setTimeout(() => URL.revokeObjectURL(address), 10_000);
	}

	// ---- in ----

	/** Show the story that this page's address holds, if it does. */
	async openShared() {
		if (!location.hash.startsWith(MARK)) return;
		const shared = await fromFragment(location.hash);
		if (shared === null) return notify("shared", say("share.damaged"));
		if (!await this.desk.mayLeave()) return;
		const story = new Story();
		story.edit(0, 0, shared.pieces);
		story.title = shared.title;
		this.desk.read(story);
		notify("shared", say("share.reading"), [[say("share.writeOn"), async () => { await this.writeOn(); this.desk.surface.focus(); }]]);
	}

	/** The story that is only shown becomes one of the writer's own. */
	async writeOn() {
		dismiss("shared");
		history.replaceState(null, "", location.pathname);
		await this.desk.keep();
	}

	/** /?prompt=… begins a story. */
	async openAsked() {
		const prompt = new URLSearchParams(location.search).get("prompt") ?? "";
		if (prompt === "") return;
		history.replaceState(null, "", location.pathname);
		await this.desk.open(null);
		const { story, surface } = this.desk;
		if (story.text === "") surface.type(prompt.replace(/\r\n?/g, "\n")); // else its writer stayed with what is not saved
	}

	async #read() {
		const [file] = this.files.files;
		this.files.value = "";
		try {
			const text = await file.text();
			const story = readFile(file.name, text);
			if (!await this.desk.mayLeave()) return;
			await this.desk.tabs.join(story.id);
			this.desk.show(story);
			this.desk.journal.keep(story);
			const settings = this.knobs.known(settingsIn(text));
			const using = [say("story.useSettings"), () => this.knobs.use(settings)];
			notify("imported", say("story.imported", { title: nameOf(story) }), Object.keys(settings).length > 0 ? [using] : []);
		} catch (error) {
			if (error.message !== "notOurs") throw error;
			notify("imported", say("story.badFile", { name: file.name, reason: say("story.notOurs") }));
		}
	}
}
