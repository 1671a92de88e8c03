// Ghost text: after a pause the likely next words stand in grey behind the cursor. Tab takes a word, Shift+Tab all
// of them, any other key goes on typing. It gives way at once: to a key, and to whoever waits for the server.

import { find } from "../frame/element.js";
import { recall, remember } from "../frame/storage.js";
import { promptAt } from "../machine/prompt.js";
import { generate, ServerError } from "../machine/server.js";

const PAUSE_MS = 600;
const TOKENS = 12;
const ALTERNATIVES = 6;

export class Ghost {
	/** `on`: settings() of a request, isFree() to write, story(). */
	constructor(surface, on) {
		this.surface = surface;
		this.on = on;
		this.panel = find("#ghost");
		this.isOn = recall("ghost") === "on";
		this.words = []; // [{text, tokens}], what may be taken
		surface.element.addEventListener("keydown", (event) => this.#key(event), { capture: true });
		addEventListener("resize", () => this.hide());
	}

	toggle() {
		this.isOn = !this.isOn;
		remember("ghost", this.isOn ? "on" : "off");
		if (this.isOn) this.later();
		else this.hide();
	}

	/** The text or the cursor changed: what was shown is over, and a pause may bring something new. */
	later() {
		if (!this.panel.hidden && this.#place() === this.shownAt) return; // the cursor is where it was
		this.hide();
		if (!this.isOn) return;
		this.timer = setTimeout(() => this.#ask(), PAUSE_MS);
	}

	hide() {
		clearTimeout(this.timer);
		this.asking?.abort();
		this.words = [];
		this.panel.hidden = true;
	}

	/** Only at the end of a paragraph, where nothing stands that the words could cover. */
	#place() {
		const { story, surface } = this;
		const { start, end } = surface.selected;
		const isEnd = end === story.text.length || story.text[end] === "\n";
		return start === end && isEnd && story.text.slice(0, end).trim() !== "" ? end : null;
	}

	get story() {
		return this.on.story();
	}

	async #ask() {
		const place = this.#place();
		if (place === null || !this.on.isFree() || document.activeElement !== this.surface.element) return;
		this.asking = new AbortController();
		const { signal } = this.asking;
		const settings = { ...this.on.settings(), max_tokens: TOKENS, logprobs: ALTERNATIVES, n: 1, gives_way: true };
		try {
			for await (const { event, data } of generate({ ...promptAt(this.story, place), ...settings }, signal)) {
				if (event === "token") this.#add(data);
			}
			if (!signal.aborted) this.#show(place);
		} catch (error) {
			if (!signal.aborted && !(error instanceof ServerError)) throw error; // not worth a notice
		}
	}

	#add({ id, text, logprob, start, end, top }) {
		const tokens = id === null ? [] : [{ length: end - start, logprob, top }];
		const last = this.words.at(-1);
		if (last === undefined || /^\s/.test(text)) this.words.push({ text, tokens });
		else Object.assign(last, { text: last.text + text, tokens: [...last.tokens, ...tokens] });
	}

	#show(place) {
		const text = this.words.map((word) => word.text).join("").split("\n")[0].trimEnd();
		if (text === "" || this.#place() !== place) return this.hide();
		this.panel.textContent = text;
		this.panel.style.top = `${this.surface.lineTop(place)}px`;
		this.panel.style.textIndent = `${this.surface.rectAt(place).left - this.surface.element.getBoundingClientRect().left}px`;
		this.panel.classList.toggle("line", place < this.story.text.length); // what follows is not covered
		this.panel.hidden = false;
		this.shownAt = place;
	}

	#key(event) {
		if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
		if (event.key !== "Tab" || this.panel.hidden) return this.hide();
		event.preventDefault();
		event.stopPropagation();
		this.#take(event.shiftKey ? this.words.length : 1);
	}

	/** The first words join the text as the machine's; the rest stays to be taken. */
	#take(count) {
		const place = this.#place();
		const taken = this.words.slice(0, count);
		const rest = this.words.slice(count);
		if (place === null || taken.length === 0) return this.hide();
		const text = taken.map((word) => word.text).join("");
		const node = this.story.begin(place, 0, { given: text, tokens: taken.flatMap((word) => word.tokens), settings: this.on.settings() });
		this.story.finish(node, { reason: "taken" });
		this.surface.select(place + text.length);
		this.surface.keepInView(place + text.length);
		this.hide(); // the change has hidden it already and would ask anew; the rest is still good
		this.words = rest;
		if (rest.length > 0) this.#show(place + text.length);
		else this.later();
	}
}
