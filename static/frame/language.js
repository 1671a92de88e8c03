// Every sentence the page says, in the reader's language. One file per language in words/.

import { recall, remember } from "./storage.js";
import { words } from "../machine/server.js";

export const LANGUAGES = { en: "English", zh: "中文" };
let table = {};

/** Load the language chosen here, else the one the page came in; then say every fixed string in it. */
export async function load(language = recall("language") ?? document.documentElement.lang) {
	table = await words(language);
	document.documentElement.lang = language;
	document.title = say("page.title");
	translate();
}

export async function choose(language) {
	remember("language", language);
	await load(language);
}

export function say(key, values = {}) {
	return (table[key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function has(key) {
	return key in table;
}

export function number(value, digits = 0) {
	return new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: digits }).format(value);
}

/** Seconds as people say them: 40 seconds, 3 minutes, 2 hours. */
export function duration(seconds) {
	const [value, unit] = seconds < 100 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
	return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" }).format(Math.ceil(value));
}

function translate() {
	for (const element of document.querySelectorAll("[data-t]")) element.textContent = say(element.dataset.t);
	for (const element of document.querySelectorAll("[data-name]")) element.ariaLabel = say(element.dataset.name);
	for (const element of document.querySelectorAll("[data-hint]")) element.dataset.placeholder = say(element.dataset.hint);
	for (const element of document.querySelectorAll("[data-label]")) element.title = say(element.dataset.label);
}
