// Candidates side by side, as they are written: take one with its number, or leave them in the tree.

import { button, cross, find, hasKeyboard, make } from "../frame/element.js";
import { textOf } from "../story/pieces.js";
import { number, say } from "../frame/language.js";

export class Candidates {
	/** `take(node)` is told; `closed()` when the panel goes. */
	constructor(take, closed) {
		this.take = take;
		this.closed = closed;
		this.panel = find("#several");
		this.nodes = [];
		this.panel.addEventListener("keydown", (event) => this.#key(event));
	}

	get isOpen() {
		return !this.panel.hidden;
	}

	open(nodes) {
		this.nodes = nodes;
		this.texts = new Map();
		const cards = nodes.map((node, index) => this.#card(node, index));
		this.panel.ariaLabel = say("several.title", { count: nodes.length });
		this.panel.replaceChildren(
			make("header", {}, make("h2", {}, this.panel.ariaLabel), make("p", {}, say(hasKeyboard ? "several.hint" : "several.hintTouch")), cross(say("do.close"), () => this.close())),
			make("div", { class: "cards" }, ...cards));
		this.panel.hidden = false;
		cards[0].querySelector("button").focus();
	}

	/** Words arrived in a story; some may be a candidate's. */
	hear({ node, text }) {
		const shown = this.texts?.get(node.id);
		shown?.append(shown.textContent === "" ? text.trimStart() : text);
	}

	#card(node, index) {
		const text = make("p", { dir: "auto", tabindex: 0 }, textOf(node.put).trimStart());
		this.texts.set(node.id, text);
		const click = () => { if (String(getSelection()) === "") this.#choose(index); };
		const { temperature } = node.settings;
		const label = temperature === undefined ? "" : say("several.temperature", { value: number(temperature, 2) });
		const taking = button(`${say("do.take")} `, (event) => { event.stopPropagation(); this.#choose(index); }, {}, make("kbd", {}, String(index + 1)));
		return make("article", { on: { click } }, text, make("footer", {}, make("small", {}, label), taking));
	}

	#key(event) {
		const index = Number(event.key) - 1;
		if (!(index in this.nodes) || event.ctrlKey || event.altKey || event.metaKey) return;
		event.preventDefault();
		this.#choose(index);
	}

	#choose(index) {
		const node = this.nodes[index];
		this.close();
		this.take(node);
	}

	close() {
		this.panel.hidden = true;
		this.panel.replaceChildren();
		this.nodes = [];
		this.texts = new Map();
		this.closed();
	}
}
