// The controls, drawn from the server's table of parameters. Knows what is asked for, not what for.

import { recall, remember } from "../frame/storage.js";
import { askForName } from "../frame/dialogs.js";
import { button, cross, find, make } from "../frame/element.js";
import { fromLines, toLines } from "./lists.js";
import { has, say } from "../frame/language.js";

const NEAR = ["max_tokens", "temperature", "top_k", "top_p", "seed"];
const OFTEN = ["min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "stop", "banned_phrases", "finish_sentence", "dry_multiplier", "xtc_probability"];
const HIDDEN = ["n", "logprobs", "prompt_logprobs", "keep", "gives_way"]; // the page's own affair
const OURS = { finish_sentence: 32 }; // where the page begins with something else than the server
const SLIDERS = { max_tokens: [0, 512, 8], temperature: [0, 2, 0.05] };
const PRESETS = {
	careful: { temperature: 0.4, top_k: 20, top_p: 0.9, repetition_penalty: 1.1 },
	balanced: { temperature: 0.7, top_k: 40, top_p: 0.95, repetition_penalty: 1.05 },
	wild: { temperature: 1.2, top_k: 0, top_p: 0.98, repetition_penalty: 1 },
	classic: { temperature: 0.7, top_k: 40, top_p: 1, repetition_penalty: 1 },
};

export class Controls {
	constructor() {
		this.chosen = JSON.parse(recall("settings") ?? "{}");
		this.card = null; // what the model says of itself
		this.own = new Map(Object.entries(JSON.parse(recall("presets") ?? "{}"))); // the writer's presets, by name
		this.table = [];
		this.open = false;
		this.expert = false;
	}

	/** A model's card: the settings under which it writes best are where the page begins. */
	suggest(card) {
		this.card = card ?? null;
		this.draw();
	}

	/** What a setting is where nothing was chosen, and the server's default is not it. */
	get #usual() {
		const { settings = {}, stop = [] } = this.card ?? {};
		return { ...OURS, ...this.known(stop.length > 0 ? { ...settings, stop } : settings) };
	}

	/** What differs from the server's own defaults: the request says no more. */
	settings() {
		const chosen = { ...this.#usual, ...this.chosen };
		const rows = this.table.filter((row) => row.name in chosen && !HIDDEN.includes(row.name));
		return Object.fromEntries(rows.map((row) => [row.name, chosen[row.name]]));
	}

	/** Those of some settings from elsewhere that this server has, each of its kind. */
	known(settings) {
		const kinds = { bool: "boolean", int: "number", float: "number", list: "object", dict: "object" };
		const isOfItsKind = (row, value) => typeof value === kinds[/^[a-z]+/.exec(row.type)[0]] && Array.isArray(value) === row.type.startsWith("list");
		return Object.fromEntries(Object.entries(settings).filter(([name, value]) => {
			const row = this.table.find((other) => other.name === name);
			return row !== undefined && value !== null && isOfItsKind(row, value);
		}));
	}

	value(name) {
		return this.chosen[name] ?? this.#usual[name] ?? this.table.find((row) => row.name === name)?.default ?? null;
	}

	set(name, value) {
		const usual = this.#usual[name] ?? this.table.find((row) => row.name === name)?.default;
		if (value === null || JSON.stringify(value) === JSON.stringify(usual)) delete this.chosen[name];
		else this.chosen[name] = value;
		remember("settings", JSON.stringify(this.chosen));
	}

	draw(table = this.table) {
		this.table = table.filter((row) => !HIDDEN.includes(row.name));
		const near = NEAR.map((name) => this.table.find((row) => row.name === name)).filter(Boolean);
		const far = this.table.filter((row) => !NEAR.includes(row.name));
		const more = button(`${say("knob.more")} ${this.open ? "▾" : "▴"}`, () => this.toggle(), {
			class: "more", "aria-expanded": String(this.open), "aria-controls": "far",
		});
		find("#knobs").replaceChildren(...near.map((row) => this.#control(row, true)), more);
		const often = OFTEN.map((name) => far.find((row) => row.name === name)).filter(Boolean);
		const rest = far.filter((row) => !OFTEN.includes(row.name));
		const experts = make("details", { class: "experts", open: this.expert }, make("summary", {}, say("knob.experts")), make("div", { class: "grid" }, ...rest.map((row) => this.#control(row))));
		experts.addEventListener("toggle", () => {
			if (experts.open && !this.expert) experts.scrollIntoView({ block: "start" }); // it opens below what is seen
			this.expert = experts.open;
		});
		find("#far").replaceChildren(this.#presets(), make("div", { class: "grid" }, ...often.map((row) => this.#control(row))), experts);
		find("#far").hidden = !this.open;
	}

	toggle() {
		this.open = !this.open;
		this.draw();
		find("#knobs .more").focus();
	}

	/** The seed of the last continuation, shown where a new one could be given. */
	showSeed(seed) {
		const input = find("#knob-seed");
		if (input !== null) input.placeholder = seed === null ? say("knob.random") : String(seed);
	}

	#presets() {
		const buttons = Object.entries(PRESETS).map(([name, values]) => button(say(`preset.${name}`), () => this.use({ ...this.chosen, ...values })));
		const { title = "", settings = {} } = this.card ?? {};
		if (Object.keys(settings).length > 0) buttons.unshift(button(say("preset.card", { title }), () => this.use({})));
		const own = [...this.own].map(([name, values]) => make("span", { class: "own" },
			button(name, () => this.use(values)), cross(`${say("do.delete")}: ${name}`, () => this.#keep(name, null))));
		const saving = button(say("preset.save"), async () => {
			const name = await askForName("", say("preset.save"));
			if (name) this.#keep(name, this.settings());
		}, { class: "save" });
		return make("div", { class: "presets", role: "group", "aria-label": say("preset.title") }, ...buttons, ...own, saving);
	}

	/** All settings at once; what is not among them goes back to the server's own. */
	use(values) {
		this.chosen = {};
		for (const [name, value] of Object.entries(values)) this.set(name, value);
		remember("settings", JSON.stringify(this.chosen));
		this.draw();
	}

	/** Save a preset of the writer's under a name; null forgets it. */
	#keep(name, values) {
		if (values === null) this.own.delete(name);
		else this.own.set(name, values);
		remember("presets", JSON.stringify(Object.fromEntries(this.own)));
		this.draw();
	}

	#control(row, near = false) {
		const id = `knob-${row.name}`;
		const name = has(`name.${row.name}`) ? say(`name.${row.name}`) : row.name.replaceAll("_", " ");
		const help = has(`help.${row.name}`) ? say(`help.${row.name}`) : row.help;
		const label = make("label", { for: id, title: help }, name);
		const input = this.#input(row, id);
		const knob = make("div", { class: "knob" }, label, input);
		if (near && SLIDERS[row.name]) knob.append(this.#slider(row, input, name));
		if (!near) knob.append(make("small", {}, help));
		return knob;
	}

	#input(row, id) {
		if (row.type === "bool") return this.#checkbox(row, id);
		if (/list|dict/.test(row.type)) return this.#lines(row, id);
		const value = row.name === "seed" ? this.chosen.seed ?? "" : this.value(row.name);
		const attributes = { id, type: "number", value: value ?? "", min: row.low, max: row.high, step: row.type.startsWith("int") ? 1 : "any" };
		if (row.name === "seed") attributes.placeholder = say("knob.random");
		const input = make("input", attributes);
		input.addEventListener("input", () => { // a key that starts the machine may come before `change`
			const { valueAsNumber } = input;
			if (input.validity.valid) this.set(row.name, Number.isNaN(valueAsNumber) ? null : valueAsNumber);
		});
		input.addEventListener("change", () => input.reportValidity());
		return input;
	}

	#checkbox(row, id) {
		const input = make("input", { id, type: "checkbox" });
		input.checked = this.value(row.name);
		input.addEventListener("change", () => this.set(row.name, input.checked));
		return input;
	}

	/** Lists are typed one to a line, mappings as `key value`. */
	#lines(row, id) {
		const input = make("textarea", { id, rows: 2, placeholder: say("knob.lines") }, toLines(this.value(row.name) ?? [], row.type));
		input.addEventListener("input", () => this.set(row.name, fromLines(input.value, row.type)));
		return input;
	}

	#slider(row, input, name) {
		const [min, max, step] = SLIDERS[row.name];
		const slider = make("input", { type: "range", min, max, step, "aria-label": name });
		slider.value = this.value(row.name) ?? max;
		slider.addEventListener("input", () => {
			input.value = slider.value;
			this.set(row.name, slider.valueAsNumber);
		});
		input.addEventListener("input", () => { slider.value = input.value; });
		return slider;
	}
}
