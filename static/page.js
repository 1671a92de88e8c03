// The page: opens a story, joins text, machine, journal and tools, and does what keys and buttons ask.

import * as bar from "./bar.js";
import { recall, remember } from "./device.js";
import { Document } from "./document.js";
import { find } from "./element.js";
import { Journal } from "./journal.js";
import { actionOf } from "./keys.js";
import { Knobs } from "./knobs.js";
import { announce, dismiss, notify, Reader } from "./notices.js";
import { Painter } from "./paint.js";
import { Pen } from "./pen.js";
import * as server from "./server.js";
import { Surface } from "./surface.js";
import { Tabs } from "./tabs.js";
import { load as loadWords, say } from "./words.js";
import { Writing } from "./writing.js";

const reader = new Reader();
const painter = new Painter();
const knobs = new Knobs(() => {});
const surface = new Surface(find("#text"), painter, {
  edit: (...edit) => story.edit(...edit),
  undo: () => act("undo"),
  redo: () => act("redo"),
  caret: () => {},
  composed: () => {},
});
const pen = new Pen(surface, painter);
const writing = new Writing(() => ({ ...knobs.settings(), ...(model && { model }) }), hear);
const journal = new Journal({ saved: () => dismiss("unsaved"), failed: complain });
const tabs = new Tabs({ asked: () => journal.flushed(), others: (count) => (count > 0 ? notify("tabs", say("saved.twoTabs")) : dismiss("tabs")) });
let story;
let model = recall("model");

// ---- a story ----

/** Open a story of the journal, or with null a new one. */
async function open(id) {
  writing.stop();
  const live = id === null ? new Set() : await tabs.join(id);
  const saved = id === null ? null : await journal.load(id, live);
  begin(new Document(saved));
  if (id === null) await tabs.join(story.id);
  tabs.follow(story);
  if (saved?.interrupted.length > 0) notify("interrupted", say("saved.interrupted"), [[say("do.goOn"), () => act("continue")]]);
}

function begin(next) {
  story = next;
  remember("story", story.id, "sessionStorage");
  story.watch((event) => {
    if (event.type === "text") surface.follow(event);
    if (event.type === "moved") surface.catchUp();
    if (event.type !== "arrived") refresh();
  });
  writing.follow(story);
  journal.follow(story);
  surface.show(story);
  refresh();
}

function refresh() {
  bar.refresh(story, writing);
}

// ---- the machine ----

function hear(state) {
  const { phase, run } = state;
  if (phase === "waiting") pen.wait(run);
  if (phase === "started") announce(say("announce.started"));
  if (phase === "writing") pen.write(run);
  if (["failed", "stopped", "written"].includes(phase)) ended(state);
  else bar.status(bar.progress(state));
  if (phase !== "writing") refresh();
}

function ended(state) {
  pen.rest();
  reader.end();
  bar.status(bar.progress(state));
  knobs.showSeed(state.run.firsts[0].seed ?? null);
  if (state.phase === "failed") complainOf(state.error);
}

function complainOf(error) {
  const key = { offline: "why.offline", broken: "why.broken", key: "why.noKey", loading: "why.loading", request: "why.request" }[error.kind] ?? "why.server";
  notify("error", say(key, { message: error.message }), [[say("do.retry"), () => act("retry")]]);
  announce(say(key, { message: error.message }));
}

function complain(error) {
  const why = error.name === "QuotaExceededError" ? "full" : journal.database === null ? "none" : "failed";
  notify("unsaved", say("saved.not", { reason: say(`saved.${why}`) }));
}

// ---- what can be done ----

const actions = {
  continue: () => {
    if (writing.busy) return;
    dismiss("error");
    dismiss("interrupted");
    writing.proceed(story, surface.selected.end);
  },
  stop: () => writing.stop(),
  retry: () => {
    dismiss("error");
    if (!writing.busy) writing.again(story, story.continuation());
  },
  undo: () => story.undo(),
  redo: () => story.redo(),
  previous: () => story.sideways(-1),
  next: () => story.sideways(1),
  parent: () => story.undo(),
  child: () => story.redo(),
  settings: () => knobs.toggle(),
  write: () => surface.focus(),
};

function act(name) {
  actions[name]?.();
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const name = actionOf(event, event.target.matches("input, textarea, [contenteditable]"));
  if (name === null || actions[name] === undefined) return;
  event.preventDefault();
  act(name);
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button !== null) act(button.dataset.do);
});
addEventListener("beforeunload", (event) => {
  if (journal.unsaved) event.preventDefault();
});
new ResizeObserver(([{ target }]) => document.documentElement.style.setProperty("--bar", `${target.offsetHeight}px`)).observe(find("#bar"));

await loadWords();
await journal.open().catch(complain);
const latest = recall("story", "sessionStorage") ?? (await journal.list())[0]?.id ?? null;
await open((await journal.list()).some(({ id }) => id === latest) ? latest : null);
knobs.draw(await server.parameters());
