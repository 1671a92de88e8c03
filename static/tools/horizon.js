// How far back the model can see: a count as the writer types, and a thin line in the text.

import { find } from "../frame/element.js";
import { seenAt } from "../machine/prompt.js";
import { ServerError, tokenize } from "../machine/server.js";
import { number, say } from "../frame/language.js";

const PAUSE_MS = 300;
const LOOKED_AT = 12_000; // characters before the cursor: a window's worth of any prose

export class Horizon {
	/** `model()` gives {name, window}; `room()` the tokens a prompt may have. */
	constructor(surface, model, room) {
		this.room = room;
		this.surface = surface;
		this.model = model;
		this.line = find("#horizon-line");
		this.offset = 0;
		addEventListener("resize", () => this.#place());
	}

	later() {
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.update(), PAUSE_MS);
	}

	async update() {
		const { name, window } = this.model() ?? {};
		if (window === undefined) return;
		this.asking?.abort();
		this.asking = new AbortController();
		const { signal } = this.asking;
		const { end } = this.surface.selected;
		const { story } = this.surface;
		const from = Math.max(0, end - LOOKED_AT);
		const text = this.surface.story.text.slice(from, end).toWellFormed();
		try {
			if (story.memory !== "" || story.world !== "" || story.note !== "") {
				const seen = await seenAt(story, end, { room: this.room(), model: name, signal });
				return this.#show(seen.count, window, seen.from);
			}
			const { count, offsets } = await tokenize(text, name, signal);
			this.#show(count, window, from > 0 || count > window ? from + offsets[Math.max(0, count - window)][0] : 0);
		} catch (error) {
			if (!(error instanceof ServerError) && !signal.aborted) throw error; // a count is not worth a notice
		}
	}

	#show(count, window, offset) {
		this.offset = offset;
		find("#horizon").textContent = say("horizon.count", { count: number(Math.min(count, window)), window: number(window) });
		this.#place();
	}

	#place() {
		this.line.hidden = this.offset === 0 || this.offset > this.surface.story.text.length;
		if (!this.line.hidden) this.line.style.top = `${this.surface.lineTop(this.offset)}px`;
	}
}
