// Notices when the machine goes round in circles, and takes it out of them.

import { say } from "../frame/language.js";
import { dismiss, notify } from "../frame/notices.js";
import { findLoop } from "../story/loop.js";

export class LoopWatch {
	/** `settings()` gives a request's parameters that make repetition unlikely. */
	constructor(desk, painter, settings) {
		this.desk = desk;
		this.painter = painter;
		this.settings = settings;
	}

	look() {
		const { story, surface, writing, isReading } = this.desk;
		const isMachines = (story.pieces.at(-1)?.by ?? null) !== null; // a writer who repeats means it
		const loop = writing.busy || isReading || !isMachines ? null : findLoop(story.text);
		this.painter.set("loop", loop === null ? [] : [surface.range(loop, story.text.length)]);
		if (loop === null) return dismiss("loop");
		const words = story.text.slice(loop).trim().replace(/\s+/g, " ").slice(0, 40);
		notify("loop", say("loop.badge", { text: words }), [[say("do.break"), () => this.#breakOut(loop)]]);
	}

	/** Take the rounds out, and go on with repetition made unlikely. */
	#breakOut(start) {
		const { story, writing } = this.desk;
		story.edit(start, story.text.length - start, "");
		writing.proceed(story, story.text.length, this.settings());
	}
}
