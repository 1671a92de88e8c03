// Every sentence the page says, in the reader's language. One file per language in words/.

import { recall, remember } from "./storage.js";
import { words } from "../machine/server.js";

/** The languages there are, by code, as each calls itself. The server knows them from words/. */
export const LANGUAGES = JSON.parse(document.documentElement.dataset.languages ?? "{}");
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

/** Why the server is waited for, as `patiently` reports it. English has the server's own sentences. */
export function reason({ phase, error: { state, message } }) {
	return say(`wait.${phase}`, { message: has(`state.${state}`) ? say(`state.${state}`) : message });
}

/** The same with how long that takes. */
export function waiting(wait) {
	return say("status.again", { reason: reason(wait), seconds: wait.seconds });
}

function translate() {
	for (const element of all("[data-t]")) element.textContent = say(element.dataset.t);
	for (const element of all("[data-name]")) element.ariaLabel = say(element.dataset.name);
	for (const element of all("[data-hint]")) element.dataset.placeholder = say(element.dataset.hint);
	for (const element of all("[data-label]")) element.title = say(element.dataset.label);
}

/** @returns {NodeListOf<HTMLElement>} */
function all(selector) {
	return document.querySelectorAll(selector);
}
