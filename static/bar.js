// The bar: what can be done now, how it goes, and which alternative the text holds.

import { find } from "./element.js";
import { KEYS, readable } from "./keys.js";
import { number, say } from "./words.js";

/** Show what the story and the machine's pen allow. */
export function refresh(story, writing) {
  const { nodes, index } = story.alternatives();
  const go = find("#go");
  go.dataset.do = writing.busy ? "stop" : "continue";
  go.firstElementChild.textContent = say(`do.${go.dataset.do}`);
  go.lastElementChild.textContent = readable(KEYS[go.dataset.do][0]);
  enable("retry", index >= 0 && !writing.busy);
  enable("undo", story.head !== story.root);
  enable("redo", story.next() !== undefined);
  find("#ways").hidden = nodes.length < 2;
  find("#way").textContent = `${index + 1} / ${nodes.length}`;
}

function enable(action, isPossible) {
  const button = find(`#bar [data-do="${action}"]`);
  if (!isPossible && document.activeElement === button) find("#go").focus(); // focus is never lost
  button.disabled = !isPossible;
}

export function status(text) {
  find("#status").textContent = text;
}

/** How a run goes, in a few words. */
export function progress({ phase, run, ahead, seconds }) {
  const speed = run.speed === null ? "…" : number(run.speed);
  const seed = run.firsts[0].seed ?? "";
  if (phase === "waiting") return say("status.waiting");
  if (phase === "queue") return ahead > 0 ? say("status.queue", { ahead, seconds }) : say("status.next");
  if (phase === "full") return say("status.full", { seconds });
  if (phase === "stopped") return say("status.stopped", { tokens: number(run.tokens), seed });
  if (phase === "written") return say("status.written", { tokens: number(run.tokens), speed, seed });
  if (phase === "writing") return say("status.writing", { tokens: number(run.tokens), speed });
  return "";
}
