// The menu and the list of models: what is needed now and then.

import { recall, remember } from "./storage.js";
import { button, find, make } from "./element.js";
import { FORMATS } from "../story/formats/files.js";
import { KEYS, readable } from "./keys.js";
import { choose, LANGUAGES, number, say } from "./language.js";

const GROUPS = {
	story: ["stories", "new", "rename", "memory", "import"],
	machine: ["several", "temperatures", "again", "ban", "redo", "key"],
	view: ["heat", "heatTable", "ghost", "map", "read", "count", "help"],
	copy: ["share", "passage", "copyColour", "copyPlain", "print"],
};
const THEMES = ["auto", "light", "dark"];
const SIGNS = ["underline", "weight", "none"];

/** `on`: act(name), exported(format), translated(). */
export function drawMenu(on) {
	const panel = find("#menu-list");
	const close = () => panel.hidePopover();
	const item = (name) => button(make("span", {}, say(`do.${name}`)), () => { close(); on.act(name); }, {},
		make("kbd", {}, KEYS[name] ? readable(KEYS[name][0]) : ""));
	const groups = Object.entries(GROUPS).map(([name, actions]) => make("section", { class: name }, make("h2", {}, say(`menu.${name}`)), ...actions.map(item)));
	const formats = Object.keys(FORMATS).map((format) => button(`.${format}`, () => { close(); on.exported(format); }));
	groups.at(-1).append(make("div", { class: "formats", role: "group", "aria-label": say("do.export") }, make("span", {}, say("do.export")), ...formats));
	panel.replaceChildren(...groups, make("section", { class: "page" }, make("h2", {}, say("menu.page")),
		choice("do.theme", THEMES, recall("theme") ?? "auto", (name) => say(`theme.${name}`), (name) => setOnPage("theme", name)),
		choice("do.sign", SIGNS, recall("sign") ?? "underline", (name) => say(`sign.${name}`), (name) => setOnPage("sign", name)),
		choice("do.language", Object.keys(LANGUAGES), document.documentElement.lang, (name) => LANGUAGES[name], async (name) => {
			await choose(name);
			on.translated();
		})));
}

function setOnPage(name, value) {
	remember(name, value);
	document.documentElement.dataset[name] = value;
}

function choice(key, values, chosen, label, pick) {
	const select = make("select", { on: { change: (event) => pick(event.target.value) } },
		...values.map((value) => make("option", { value, selected: value === chosen }, label(value))));
	return make("label", { class: "choice" }, make("span", {}, say(key)), select);
}

/** The models as a list to choose from; the button shows the one in use. */
export function drawModels({ models, default: first }, chosen, pick) {
	const inUse = models.find((model) => model.name === chosen) ?? models.find((model) => model.name === first);
	const chip = find("#model");
	chip.replaceChildren(make("span", {}, inUse.name), make("span", { class: "about" }, ` · ${size(inUse)} · ${inUse.precision}`));
	chip.ariaLabel = `${say("model.title")}: ${chip.textContent}`;
	const rows = models.map((model) => make("label", { class: "model" },
		make("input", { type: "radio", name: "model", value: model.name, checked: model === inUse, on: { change: () => pick(model.name) } }),
		make("span", {}, make("b", {}, model.name), ` ${size(model)}`,
			make("small", {}, [say("model.window", { count: number(model.window) }), say("model.precision", { precision: model.precision })].join(" · ")),
			make("small", {}, model.about ?? ""))));
	find("#models").replaceChildren(make("fieldset", {}, make("legend", {}, say("model.title")), ...rows));
	return inUse;
}

function size(model) {
	return say("model.parameters", { count: number(model.parameters / 1e6, model.parameters < 1e7 ? 1 : 0) });
}
