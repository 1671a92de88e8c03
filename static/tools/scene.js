// Scene mode: the writer speaks as one of the cast, the machine as the others. Enter ends the writer's line, the
// others answer, and the next turn is the writer's again. All of it is plain text: names, colons, lines.

import { find, make } from "../frame/element.js";
import { say } from "../frame/language.js";
import { difference } from "../story/pieces.js";
import { beginTurn, castOf, endTurn, isTurnOf, SHADES, stopsFor } from "../story/scene.js";

export class Scene {
	/** `on`: story(), choose(name): a speaker's button was pressed. */
	constructor(surface, on) {
		this.surface = surface;
		this.on = on;
		this.panel = find("#cast");
		this.cast = [];
	}

	/** The model that writes, by its card, has these speakers. */
	suggest(card) {
		this.cast = castOf(card);
		this.surface.setCast(this.cast);
		this.draw();
	}

	/** Who the writer is; null outside a scene. */
	get role() {
		const { role } = this.on.story();
		return this.cast.includes(role) ? role : null;
	}

	draw() {
		this.panel.hidden = this.cast.length === 0;
		if (this.panel.hidden) return;
		const { role } = this;
		const buttons = this.cast.map((name, index) => make("button", {
			type: "button", class: `shade-${index % SHADES + 1}`, "aria-pressed": String(name === role),
			on: { click: () => this.on.choose(name === role ? "" : name) },
		}, name));
		this.panel.replaceChildren(make("span", { id: "cast-label" }, say("scene.role")),
			make("div", { class: "names", role: "group", "aria-labelledby": "cast-label" }, ...buttons),
			make("small", {}, say(role === null ? "scene.choose" : "scene.hint")));
	}

	/** The writer speaks as `name` from now on; with "" as nobody. */
	choose(name) {
		const story = this.on.story();
		story.instruct({ role: name });
		this.draw();
		this.surface.focus();
		if (name !== "") this.#write(beginTurn(story.text, name, this.cast));
	}

	/** A request's settings, with which it stops where the writer's next turn begins. */
	settings(settings) {
		if (this.role === null) return settings;
		const { stop, banned } = stopsFor(this.role);
		return { ...settings, stop: [...settings.stop ?? [], stop], banned_phrases: [...settings.banned_phrases ?? [], banned] };
	}

	/** Enter was pressed. Gives "answer" where the others are to speak now, "begun" where the writer's line has
	 * begun, and null where it is a line's end as any other. */
	enter() {
		const { text } = this.on.story();
		if (this.role === null || !this.#isAtEnd()) return null;
		if (isTurnOf(text, this.role)) return "answer";
		this.#write(beginTurn(text, this.role, this.cast));
		return "begun";
	}

	/** The machine is to write at the text's end: the writer's line is over. */
	yield() {
		if (this.role !== null && this.#isAtEnd()) this.#write(endTurn(this.on.story().text, this.cast));
	}

	/** The others have spoken, and stopped where the writer's turn begins. */
	takeTurn(run) {
		const story = this.on.story();
		const [node] = run.nodes;
		if (this.role === null || run.aside || run.story !== story || node !== story.head) return;
		if (node.reason === "length" || run.place !== story.text.length) return;
		const isThere = this.#isAtEnd();
		this.#write(beginTurn(story.text, this.role, this.cast), isThere);
	}

	#isAtEnd() {
		const { start, end } = this.surface.selected;
		return start === end && this.on.story().text.slice(end).trim() === "";
	}

	#write(text, isFollowed = true) {
		const story = this.on.story();
		const change = difference(story.text, text);
		if (change.removed > 0 || change.put !== "") story.edit(change.at, change.removed, change.put);
		if (!isFollowed) return;
		this.surface.select(story.text.length);
		this.surface.keepInView(story.text.length);
	}
}
