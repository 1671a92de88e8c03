// Heat: every word in view, the writer's own too, shaded by how much it surprised the model; and the
// same as a table. The text is scored in stretches, and a stretch again only when it changed.

import { reading, show } from "../frame/dialogs.js";
import { cross, find, make } from "../frame/element.js";
import { find as findPiece } from "../story/pieces.js";
import { patiently } from "../machine/patience.js";
import { score } from "../machine/server.js";
import { stretchesOf } from "../machine/stretches.js";
import { number, say, waiting } from "../frame/language.js";

const ALTERNATIVES = 6;
const LEVELS = [1, 3, 5, 8, 12]; // bits from which a word is warmer
const PAUSE_MS = 400;
const KEPT = 60; // stretches that are not asked for again: some ten screens of text, 6 MB

export class Heat {
	/** `model()` gives {name, window}; `failed(error)` is told what went wrong. */
	constructor(surface, painter, { model, failed }) {
		this.surface = surface;
		this.painter = painter;
		this.model = model;
		this.failed = failed;
		this.isOn = false;
		this.scored = new Map();
		this.stretches = [];
		addEventListener("scroll", () => this.later(), { passive: true });
	}

	toggle(isOn = !this.isOn) {
		this.isOn = isOn;
		document.documentElement.classList.toggle("heated", isOn);
		find("#bar [data-do=heat]").ariaPressed = String(isOn);
		find("#heat-legend").hidden = !isOn;
		if (isOn) this.update();
		else this.#clear();
	}

	#clear() {
		this.asking?.abort();
		this.stretches = [];
		LEVELS.forEach((_, index) => this.painter.set(`heat-${index + 1}`, []));
	}

	/** The text or the view changed: look again when it has come to rest. */
	later() {
		if (!this.isOn) return;
		clearTimeout(this.timer);
		this.timer = setTimeout(() => this.update(), PAUSE_MS);
	}

	async update() {
		this.asking?.abort();
		this.asking = new AbortController();
		const { signal } = this.asking;
		try {
			const wanted = stretchesOf(this.surface.story.text, this.model()?.window).filter((stretch) => this.#isInView(stretch));
			this.stretches = wanted.filter((stretch) => this.scored.has(this.#key(stretch)));
			for (const stretch of wanted) {
				await this.#score(stretch, signal);
				if (signal.aborted) return;
			}
			this.stretches = wanted;
			this.#paint();
		} catch (error) {
			if (!signal.aborted) this.failed(error);
		}
	}

	#key({ before, text }) {
		return `${this.model()?.name ?? ""}\0${before}\0${text}`;
	}

	async #score(stretch, signal) {
		const key = this.#key(stretch);
		if (!this.scored.has(key)) {
			const { tokens } = await patiently(() => {
				this.legend(say("status.scoring"));
				return score(stretch.before, stretch.text, ALTERNATIVES, this.model()?.name, signal);
			}, signal, (wait) => this.legend(waiting(wait)));
			this.scored.set(key, tokens);
			if (this.scored.size > KEPT) this.scored.delete(this.scored.keys().next().value);
		}
		stretch.tokens = this.scored.get(key);
	}

	#isInView({ start, text }) {
		const margin = innerHeight / 2;
		const top = this.surface.rectAt(start).top;
		const { bottom } = this.surface.rectAt(start + text.length);
		return bottom > -margin && top < innerHeight + margin;
	}

	#paint() {
		const layers = LEVELS.map(() => []);
		for (const { start, text, tokens } of this.stretches) {
			for (const token of tokens) {
				const level = levelOf(token);
				const end = start + token.end;
				const from = end - text.slice(token.start, token.end).trimStart().length; // a space before a word may hang at a line's end
				if (level > 0 && from < end) layers[level - 1].push(this.surface.range(from, end));
			}
		}
		layers.forEach((ranges, index) => this.painter.set(`heat-${index + 1}`, ranges));
		this.measure();
	}

	/** Bits per character of the selection, or of all that is in view. */
	measure() {
		if (!this.isOn) return;
		const { start, end } = this.surface.selected;
		const isSelected = end > start;
		const tokens = this.#tokens().filter((token) => token.logprob !== null && (!isSelected || (token.start >= start && token.end <= end)));
		const characters = tokens.reduce((sum, token) => sum + token.end - token.start, 0);
		const bits = tokens.reduce((sum, token) => sum + bitsOf(token), 0) / characters;
		this.legend(characters === 0 ? "" : say(isSelected ? "heat.selection" : "heat.bits", { bits: number(bits, 2) }));
	}

	#tokens() {
		return this.stretches.flatMap(({ start, tokens }) => tokens.map((token) => ({ ...token, start: start + token.start, end: start + token.end })));
	}

	legend(text) {
		const scale = LEVELS.map((_, index) => make("i", { class: `heat-${index + 1}` }));
		find("#heat-legend").replaceChildren(make("span", {}, say("heat.expected")), make("span", { class: "scale", "aria-hidden": "true" }, ...scale), make("span", {}, say("heat.surprising")), make("output", {}, text), cross(say("do.close"), () => this.toggle(false)));
	}

	/** The scored token at an offset, as the list of alternatives wants it; null where none is known. */
	tokenAt(offset) {
		const token = this.#tokens().find(({ start, end }) => offset >= start && offset < end);
		return token === undefined ? null : { node: null, token: { ...token, length: token.end - token.start }, start: token.start, end: token.end };
	}

	async table() {
		if (!this.isOn) this.toggle(true);
		await this.update();
		const { text, pieces } = this.surface.story;
		return show(say("heat.legend"), () => {
			const rows = this.#tokens().filter((token) => token.end > token.start).map((token) => tableRow(token, text, pieces));
			const heads = ["word", "surprise", "odds", "author"].map((key) => make("th", { scope: "col" }, say(`heat.${key}`)));
			const table = make("table", { class: "heat" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
			return [reading(table)];
		});
	}
}

function tableRow(token, text, pieces) {
	const { index } = findPiece(pieces, token.start);
	const author = pieces[index]?.by === null ? "you" : "machine";
	const odds = token.logprob === null ? "" : `${number(Math.exp(token.logprob) * 100, 2)} %`;
	const word = text.slice(token.start, token.end);
	const cells = [token.logprob === null ? "" : number(bitsOf(token), 1), odds, say(`heat.${author}`)];
	return make("tr", {}, make("th", { scope: "row", dir: "auto", class: `heat-${levelOf(token)}` }, word), ...cells.map((cell) => make("td", {}, cell)));
}

function bitsOf({ logprob }) {
	return -logprob / Math.LN2;
}

function levelOf(token) {
	if (token.logprob === null) return 0;
	const bits = bitsOf(token);
	return LEVELS.filter((from) => bits >= from).length;
}
