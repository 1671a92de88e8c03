// The page: joins the desk with the tools around it, and does what keys and buttons ask.

import * as bar from "./tools/bar.js";
import { connect, copy } from "./text/clipboard.js";
import { Desk } from "./desk.js";
import { recall, remember } from "./frame/storage.js";
import * as dialogs from "./frame/dialogs.js";
import { find, make } from "./frame/element.js";
import { readFile, settingsIn, writeFile } from "./story/files.js";
import { Ghost } from "./tools/ghost.js";
import { Heat } from "./tools/heat.js";
import { Horizon } from "./tools/horizon.js";
import { invite } from "./frame/invite.js";
import { nameOf } from "./story/library.js";
import { actionOf, readable } from "./frame/keys.js";
import { Controls } from "./tools/controls.js";
import { count } from "./story/count.js";
import { findLoop } from "./story/loop.js";
import { TreeMap } from "./tools/map.js";
import { drawMenu, drawModels } from "./frame/menu.js";
import { announce, dismiss, notify, Voice } from "./frame/notices.js";
import { Painter } from "./text/painter.js";
import { Pen } from "./text/pen.js";
import { slice, written } from "./story/pieces.js";
import { fromFragment, MARK, toFragment } from "./story/share.js";
import { Story } from "./story/story.js";
import * as server from "./machine/server.js";
import { Candidates } from "./tools/candidates.js";
import { showStories } from "./frame/stories.js";
import { duration, load as loadWords, number, say } from "./frame/language.js";
import { Alternatives } from "./tools/alternatives.js";

const CANDIDATES = 3;
const AGAIN_MS = 3000; // until a server that is not ready is asked again
const TEMPERATURES = [0.4, 0.7, 1.1];

const painter = new Painter();
const voice = new Voice();
const knobs = new Controls();
const desk = new Desk(find("#text"), painter, request);
const { surface, writing, journal } = desk;
const pen = new Pen(surface, painter);
const map = new TreeMap((node) => desk.story.go(node.id));
const several = new Candidates((node) => { writing.stop(); desk.story.go(node.id); }, () => surface.focus());
const heat = new Heat(surface, painter, { model: () => model, failed: (error) => complain(error, () => heat.update()) });
const horizon = new Horizon(surface, () => model, room);
const word = new Alternatives(surface, painter, (offset) => desk.story.tokenAt(offset) ?? heat.tokenAt(offset), branch);
let begin;
const started = new Promise((resolve) => { begin = () => resolve(null); });
const wantedModel = new URLSearchParams(location.search).get("model");
const ghost = new Ghost(surface, { settings: request, isFree: () => !writing.busy && !desk.isReading, story: () => desk.story });
let models = null;
let model = null; // the one in use, as /models describes it

connect(surface, () => desk.story);
desk.on("changed", changed);
desk.on("heard", heard);
desk.on("caret", caret);
desk.on("wanted", act);

// ---- what happens ----

function changed(event) {
	const { story } = desk;
	word.hear(event);
	ghost.later();
	if (event.type === "arrived") {
		several.hear(event);
		if (event.node === story.head) voice.hear(event.text);
		return;
	}
	bar.refresh(story, writing);
	invite(story.text === "", model?.card ?? null, (text) => { surface.type(text); surface.focus(); });
	find("#title").textContent = nameOf(story) || say("story.untitled");
	if (event.isNew !== false) map.draw(story); // keys of one burst are one dot
	lookAgain();
}

/** What hangs on the whole text, when it has come to rest. */
function lookAgain() {
	heat.later();
	horizon.later();
	knobs.showSeed(desk.story.continuation()?.seed ?? null);
	lookForLoop();
}

function caret() {
	ghost.later();
	heat.measure();
	horizon.later();
}

function heard(state) {
	const { phase, run, error } = state;
	if (phase === "waiting") pen.wait(run);
	if (phase === "started") announce(say("announce.started"));
	if (phase === "writing") pen.write(run);
	bar.status(bar.progress(state));
	if (["failed", "stopped", "written"].includes(phase)) ended(phase, run);
	if (phase === "failed") complain(error, () => repeat(run));
	if (phase !== "writing") bar.refresh(desk.story, writing);
}

function ended(phase, run) {
	pen.rest(run);
	voice.end();
	if (phase !== "failed") announce(say(phase === "stopped" ? "announce.stopped" : "announce.done", { tokens: number(run.tokens) }));
	lookAgain();
}

/** Ask for the same once more. */
function repeat(run) {
	if (run.aside) act(run.nodes.length > 1 ? "several" : "temperatures");
	else write(() => writing.repeat(run));
}

/** Say what went wrong; `again` is what Retry does, and what a key that was missing makes possible. */
async function complain(error, again) {
	const values = { message: error.message, wait: duration(error.retryAfter ?? 60) };
	notify("error", say(`why.${error.kind}`, values), [[say("do.retry"), again]]);
	const isAsked = error.kind === "key" || error.kind === "wrongKey";
	if (!isAsked || !await dialogs.askForKey(error.kind === "wrongKey")) return;
	dismiss("error");
	if (models === null) await learn();
	else again();
}

function branch(found, choice) {
	writing.stop();
	if (found.node === null) desk.story.replaceWord(found, choice.text);
	else writing.branch(desk.story, found, choice);
}

function lookForLoop() {
	const { story } = desk;
	const isMachines = (story.pieces.at(-1)?.by ?? null) !== null; // a writer who repeats means it
	const loop = writing.busy || !isMachines ? null : findLoop(story.text);
	painter.set("loop", loop === null ? [] : [surface.range(loop, story.text.length)]);
	if (loop === null) return dismiss("loop");
	const words = story.text.slice(loop).trim().replace(/\s+/g, " ").slice(0, 40);
	notify("loop", say("loop.badge", { text: words }), [[say("do.break"), () => breakLoop(loop)]]);
}

/** Take the rounds out, and go on with repetition made unlikely. */
function breakLoop(start) {
	const { story } = desk;
	story.edit(start, story.text.length - start, "");
	const settings = { ...request(), repetition_penalty: 1.3, temperature: Math.max(0.9, knobs.value("temperature")) };
	writing.proceed(story, story.text.length, settings);
}

/** The parameters of a request. */
function request() {
	return { ...knobs.settings(), ...chosenModel() };
}

/** How many tokens a prompt may have, so that what is written with these settings still fits beside it. */
function room() {
	const [length, more] = ["max_tokens", "finish_sentence"].map((name) => knobs.value(name) ?? 0);
	return Math.max(model.window >> 1, model.window - length - more);
}

function chosenModel() {
	return model === null || model.name === models.default ? {} : { model: model.name };
}

// ---- what can be done ----

const actions = {
	continue: () => write(() => writing.proceed(desk.story, surface.selected.end)),
	stop: escape,
	retry: () => write(() => desk.story.continuation() && writing.again(desk.story, desk.story.continuation())),
	again: () => write(() => desk.story.continuation() && sameAgain(desk.story.continuation())),
	several: () => write(() => several.open(writing.several(desk.story, surface.selected.end, CANDIDATES))),
	temperatures: () => write(() => several.open(writing.temperatures(desk.story, surface.selected.end, TEMPERATURES))),
	undo: () => desk.story.undo(),
	redo: () => desk.story.redo(),
	previous: () => desk.story.sideways(-1),
	next: () => desk.story.sideways(1),
	alternatives: () => { if (!word.open()) bar.status(say("word.unknown")); },
	ban,
	heat: () => heat.toggle(),
	ghost: () => { ghost.toggle(); bar.status(say(ghost.isOn ? "ghost.on" : "ghost.off")); },
	heatTable: () => heat.table(),
	map: () => showMap(find("#map").hidden),
	stories: () => showStories(journal, { open: openAt, begin: () => act("new"), rename, delete: remove }),
	new: () => desk.open(null).then(() => surface.focus()),
	rename: () => rename(desk.story),
	memory: async () => { const about = await dialogs.askForMemory(desk.story); if (about !== null) desk.story.instruct(about); },
	settings: () => knobs.toggle(),
	count: () => bar.status(counted()),
	read: () => { document.documentElement.classList.toggle("reading"); surface.focus(); },
	print: () => print(),
	copyColour: () => copyText(true),
	copyPlain: () => copyText(false),
	share: () => share(),
	exportTree: () => exported("json"),
	import: () => imports.click(),
	key: async () => { if (await dialogs.askForKey()) await learn(); },
	help: () => dialogs.help(),
	write: () => surface.focus(),
};

const WRITES = ["continue", "retry", "again", "several", "temperatures", "undo", "redo", "previous", "next", "rename", "memory"];

async function act(name) {
	if (desk.story === undefined) await started; // a key may be quicker than the storage
	if (desk.isReading && WRITES.includes(name)) await writeOn();
	return actions[name]();
}

/** Begin to write, unless that is going on; what was wrong before is settled. */
function write(task) {
	if (writing.busy) return;
	dismiss("error");
	dismiss("interrupted");
	task();
}

/** Esc: the machine stops; else what is open closes; else the keyboard goes back to the text. */
function escape() {
	if (document.documentElement.classList.contains("reading")) act("read");
	else if (word.isOpen) word.hide();
	else if (writing.busy) writing.stop();
	else if (several.isOpen) several.close();
	else surface.focus();
}

async function sameAgain(node) {
	const before = node.put.map((piece) => piece.text).join("");
	const run = await writing.again(desk.story, node, { same: true });
	const after = run.firsts[0].put.map((piece) => piece.text).join("");
	const isSame = after.startsWith(before) || before.startsWith(after); // either may have been stopped early
	if (after !== "") bar.status(say(isSame ? "status.exact" : "status.differs"));
}

function showMap(isShown) {
	find("#map").hidden = !isShown;
	remember("map", isShown ? "shown" : "hidden");
	map.draw(desk.story);
	if (isShown) map.focus();
}

/** The selected words are never written again, until that is taken back. */
function ban() {
	const { start, end } = surface.selected;
	const phrase = desk.story.text.slice(start, end).trim();
	if (phrase === "") return bar.status(say("ban.select"));
	const before = knobs.value("banned_phrases") ?? [];
	knobs.set("banned_phrases", [...before.filter((other) => other !== phrase), phrase]);
	knobs.draw();
	const undo = () => { knobs.set("banned_phrases", before); knobs.draw(); };
	notify("ban", say("ban.done", { text: phrase }), [[say("do.undo"), undo]]);
}

/** The pieces of the selection, or of the whole text. */
function chosenPieces() {
	const { start, end } = surface.selected;
	return end > start ? slice(desk.story.pieces, start, end) : desk.story.pieces;
}

function counted() {
	const { words, characters, share: machines } = count(chosenPieces());
	return say("story.count", { words: number(words), characters: number(characters), percent: number(machines * 100) });
}

function copyText(inColour) {
	const pieces = chosenPieces();
	bar.status(copy(pieces, inColour) ? say("story.copied") : say("story.copyFailed", { key: readable("mod c") }));
}

/** Open a story, where words were looked for at them. */
async function openAt(id, found) {
	await desk.open(id);
	if (found === null || desk.story.id !== id) return;
	desk.story.go(found.node);
	surface.select(found.start, found.end);
	surface.keepInView(found.start);
	surface.focus();
}

async function rename({ id, title: before }) {
	const title = await dialogs.askForName(before);
	if (title === null) return;
	if (id === desk.story.id) desk.story.rename(title);
	else journal.rename(id, title);
}

async function remove(id, isDeleted) {
	if (isDeleted && id === desk.story.id) await desk.open(null); // what is still being written would bring it back
	journal.delete(id, isDeleted);
	await journal.flushed();
}

// ---- links ----

/** A link that holds the story; or, where that would be too long, the story as a file. */
async function share() {
	const fragment = await toFragment(desk.story);
	if (fragment === null) return notify("share", say("share.tooLong"), [[say("share.file"), () => exported("json")]]);
	const link = `${location.origin}${location.pathname}${fragment}`;
	const isWanted = await dialogs.offerLink(link);
	if (isWanted) bar.status(copy(written(link), false) ? say("story.copied") : say("story.copyFailed", { key: readable("mod c") }));
}

/** Show the story that this page's address holds, if it does. */
async function openShared() {
	if (!location.hash.startsWith(MARK)) return;
	const shared = await fromFragment(location.hash);
	if (shared === null) return notify("shared", say("share.damaged"));
	if (!await desk.mayLeave()) return;
	const story = new Story();
	story.edit(0, 0, shared.pieces);
	story.title = shared.title;
	desk.read(story);
	notify("shared", say("share.reading"), [[say("share.writeOn"), async () => { await writeOn(); surface.focus(); }]]);
}

async function writeOn() {
	dismiss("shared");
	history.replaceState(null, "", location.pathname);
	await desk.keep();
}

/** /?prompt=… begins a story; /?model=… chooses its model. */
async function openAsked() {
	const asked = new URLSearchParams(location.search);
	const prompt = asked.get("prompt") ?? "";
	if (prompt === "") return;
	history.replaceState(null, "", location.pathname);
	await desk.open(null);
	desk.story.edit(0, 0, prompt.replace(/\r\n?/g, "\n"));
	surface.select(prompt.length);
}

// ---- files ----

const imports = make("input", { type: "file", accept: ".txt,.md,.html,.json,.story", on: { change: imported } });

async function imported() {
	const [file] = imports.files;
	imports.value = "";
	try {
		const text = await file.text();
		const story = readFile(file.name, text);
		if (!await desk.mayLeave()) return;
		await desk.tabs.join(story.id);
		desk.show(story);
		journal.keep(story);
		const settings = knobs.known(settingsIn(text));
		const using = [say("story.useSettings"), () => knobs.use(settings)];
		notify("imported", say("story.imported", { title: nameOf(story) }), Object.keys(settings).length > 0 ? [using] : []);
	} catch (error) {
		if (error.message !== "notOurs") throw error;
		notify("imported", say("story.badFile", { name: file.name, reason: say("story.notOurs") }));
	}
}

function exported(format) {
	const { name, type, text } = writeFile(desk.story, format, knobs.settings());
	const address = URL.createObjectURL(new Blob([text], { type }));
	make("a", { href: address, download: name }).click();
	setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// ---- keys, buttons, start ----

document.addEventListener("keydown", (event) => {
	if (event.isComposing || event.defaultPrevented || find("#dialog[open], :popover-open") !== null) return;
	const target = /** @type {Element} */ (event.target);
	const name = actionOf(event, target.matches("input, textarea, select, [contenteditable]"));
	const isFields = target.matches("input, textarea") && ["undo", "redo"].includes(name);
	if (name === null || isFields) return;
	event.preventDefault();
	act(name);
});
document.addEventListener("click", (event) => {
	const target = /** @type {Element} */ (event.target);
	const button = /** @type {HTMLElement} */ (target.closest("[data-do]"));
	if (button !== null) act(button.dataset.do);
});
addEventListener("beforeunload", (event) => {
	if (journal.unsaved) event.preventDefault();
});
const setLength = (name, pixels) => document.documentElement.style.setProperty(name, `${pixels}px`);
new ResizeObserver(() => setLength("--bar", find("#bar").offsetHeight)).observe(find("#bar"));
visualViewport.addEventListener("resize", () => { // where a keyboard covers the page instead of resizing it
	setLength("--keyboard", Math.max(0, innerHeight - visualViewport.height * visualViewport.scale));
});

function translated() {
	drawMenu({ act, exported, translated });
	if (models !== null) showModels();
	knobs.draw();
	heat.measure();
	changed({ type: "language" });
}

function showModels() {
	model = drawModels(models, model?.name ?? wantedModel ?? recall("model"), (name) => {
		remember("model", name);
		model = models.models.find((other) => other.name === name);
		showModels();
		horizon.later();
	});
	knobs.suggest(model.card);
	changed({ type: "model" });
}

/** What the server can do: its models and its parameters. */
async function learn() {
	try {
		const [table, served] = await Promise.all([server.parameters(), server.models()]);
		models = served;
		knobs.draw(table);
		showModels();
		horizon.later();
		dismiss("unknown");
	} catch (error) {
		if (["key", "wrongKey"].includes(error.kind)) return complain(error, learn);
		notify("unknown", say(`why.${error.kind}`, { message: error.message }));
		setTimeout(learn, AGAIN_MS);
	}
}

navigator.serviceWorker?.register("worker.js"); // missing on plain HTTP: then the page needs its server
await loadWords();
drawMenu({ act, exported, translated });
find("#map").hidden = recall("map") === "hidden" || innerWidth < 1100;
await desk.start();
begin();
await openAsked();
await openShared();
addEventListener("hashchange", openShared);
if (!painter.supported) notify("old", say("page.oldBrowser"));
surface.focus();
await learn();
