// The page: joins the desk with the tools around it.

import * as bar from "./tools/bar.js";
import { actionsOf } from "./actions.js";
import { connect } from "./text/clipboard.js";
import { Desk } from "./desk.js";
import { Exchange } from "./exchange.js";
import { recall } from "./frame/storage.js";
import { askForKey } from "./frame/dialogs.js";
import { find } from "./frame/element.js";
import { Ghost } from "./tools/ghost.js";
import { Heat } from "./tools/heat.js";
import { Horizon } from "./tools/horizon.js";
import { invite } from "./frame/invite.js";
import { nameOf } from "./story/library.js";
import { actionOf } from "./frame/keys.js";
import { Controls } from "./tools/controls.js";
import { LoopWatch } from "./tools/loops.js";
import { TreeMap } from "./tools/map.js";
import { drawMenu } from "./frame/menu.js";
import { Models } from "./model.js";
import { announce, dismiss, notify, Voice } from "./frame/notices.js";
import { Painter } from "./text/painter.js";
import { Pen } from "./text/pen.js";
import { Scene } from "./tools/scene.js";
import { Candidates } from "./tools/candidates.js";
import { duration, load as loadWords, number, say } from "./frame/language.js";
import { Alternatives } from "./tools/alternatives.js";

const painter = new Painter();
const voice = new Voice();
const knobs = new Controls();
const desk = new Desk(find("#text"), painter, request);
const { surface, writing, journal } = desk;
const pen = new Pen(surface, painter);
const models = new Models({ learned: (parameters) => knobs.draw(parameters), chosen, refused: (error) => complain(error, () => models.learn()) });
const exchange = new Exchange(desk, knobs, models);
const map = new TreeMap((node) => desk.story.go(node.id), () => act("map"));
const several = new Candidates((node) => { writing.stop(); desk.story.go(node.id); }, () => surface.focus());
const heat = new Heat(surface, painter, { model: () => models.chosen, failed: (error) => complain(error, () => heat.update()) });
const horizon = new Horizon(surface, () => models.chosen, room);
const word = new Alternatives(surface, painter, (offset) => desk.story.tokenAt(offset) ?? heat.tokenAt(offset), branch);
const ghost = new Ghost(surface, { settings: request, isFree: () => !writing.busy && !desk.isReading, story: () => desk.story });
const scene = new Scene(surface, { story: () => desk.story, choose: play });
const loops = new LoopWatch(desk, painter, () => ({ ...request(), repetition_penalty: 1.3, temperature: Math.max(0.9, knobs.value("temperature")) }));
const { act, repeat } = actionsOf({ desk, knobs, models, exchange, scene, several, word, heat, ghost, map });
const menu = { act, exported: (format) => exchange.save(format), translated };

connect(surface, () => desk.story);
desk.on("changed", changed);
desk.on("heard", heard);
desk.on("caret", caret);
desk.on("enter", enter);
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
	invite(story.text === "" && !desk.isReading, models.chosen?.card ?? null, (text) => { surface.type(text); surface.focus(); });
	if (event.type === "opened") scene.draw();
	if (event.type === "opened" && several.isOpen) several.close(); // they are another story's
	find("#title").textContent = nameOf(story) || say("story.untitled");
	if (event.isNew !== false) map.draw(story); // keys of one burst are one dot
	lookAgain();
}

/** What hangs on the whole text, when it has come to rest. */
function lookAgain() {
	heat.later();
	horizon.later();
	knobs.showSeed(desk.story.continuation()?.seed ?? null);
	loops.look();
}

function caret() {
	ghost.later();
	heat.measure();
	horizon.later();
}

/** Whether Enter was more than a line's end: in a scene it hands the turn over. */
function enter() {
	const taken = writing.busy ? null : scene.enter();
	if (taken === "answer") act("continue");
	return taken !== null;
}

/** The writer chose whom to speak as. */
async function play(name) {
	if (desk.isReading) await exchange.writeOn();
	scene.choose(name);
}

function heard(state) {
	const { phase, run, error } = state;
	if (phase === "waiting") pen.wait(run);
	if (phase === "started") announce(say("announce.started"));
	if (phase === "writing") pen.write(run);
	bar.status(bar.progress(state));
	if (["failed", "stopped", "written"].includes(phase)) ended(phase, run);
	if (phase === "failed") complain(error, () => repeat(run));
	if (phase === "written") scene.takeTurn(run);
	if (phase !== "writing") bar.refresh(desk.story, writing);
}

function ended(phase, run) {
	pen.rest(run);
	voice.end();
	if (phase !== "failed") announce(say(phase === "stopped" ? "announce.stopped" : "announce.done", { tokens: number(run.tokens) }));
	lookAgain();
}

/** Say what went wrong; `again` is what Retry does, and what a key that was missing makes possible. */
async function complain(error, again) {
	const values = { message: error.message, wait: duration(error.retryAfter ?? 60) };
	notify("error", say(`why.${error.kind}`, values), [[say("do.retry"), again]]);
	const isAsked = error.kind === "key" || error.kind === "wrongKey";
	const isBusy = find("#dialog[open]") !== null; // what is typed there stays; the notice's button asks again
	if (!isAsked || isBusy || !await askForKey(error.kind === "wrongKey")) return;
	dismiss("error");
	if (models.isKnown) again();
	else await models.learn();
}

/** Another word was chosen in the list of alternatives. */
async function branch(found, choice) {
	if (desk.isReading) await exchange.writeOn();
	writing.stop();
	if (found.node === null) desk.story.replaceWord(found, choice.text);
	else writing.branch(desk.story, found, choice);
}

/** The parameters of a request. */
function request() {
	return { ...scene.settings(knobs.settings()), ...models.request };
}

/** How many tokens a prompt may have, so that what is written with these settings still fits beside it. */
function room() {
	const { window } = models.chosen;
	const [length, more] = ["max_tokens", "finish_sentence"].map((name) => knobs.value(name) ?? 0);
	return Math.max(window >> 1, window - length - more);
}

function chosen({ card }) {
	knobs.suggest(card);
	scene.suggest(card);
	changed({ type: "model" });
}

function translated() {
	drawMenu(menu);
	models.draw();
	knobs.draw();
	scene.draw();
	heat.measure();
	changed({ type: "language" });
}

// ---- keys, buttons, the window ----

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
new ResizeObserver(() => { setLength("--bar", find("#bar").offsetHeight); pen.keepUp(); }).observe(find("#bar"), { box: "border-box" });
visualViewport.addEventListener("resize", () => { // where a keyboard covers the page instead of resizing it
	setLength("--keyboard", Math.max(0, innerHeight - visualViewport.height * visualViewport.scale));
});

// ---- start ----

navigator.serviceWorker?.register("worker.js"); // missing on plain HTTP: then the page needs its server
await loadWords();
drawMenu(menu);
find("#map").hidden = recall("map") === "hidden" || innerWidth < 1100;
await desk.start();
await exchange.openAsked();
await exchange.openShared();
addEventListener("hashchange", () => exchange.openShared());
if (!painter.supported) notify("old", say("page.oldBrowser"));
surface.focus();
await models.learn();
