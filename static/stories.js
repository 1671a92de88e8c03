// The stories on this device: listed, searched, opened, renamed, deleted (and brought back).

import { show } from "./dialogs.js";
import { Document } from "./document.js";
import { make } from "./element.js";
import { nameOf } from "./journal.js";
import { number, say } from "./words.js";

/** `on`: open(id), begin(), rename(id, title), delete(id, isDeleted). */
export function showStories(journal, on) {
  return show(say("do.stories"), (close) => {
    const search = make("input", { type: "search", placeholder: say("story.search"), "aria-label": say("story.search") });
    const list = make("ul", { class: "stories" });
    const undone = make("div", { role: "status" });
    const draw = async () => {
      const wanted = search.value.trim().toLocaleLowerCase();
      const found = [];
      for (const story of await journal.list()) if (await holds(journal, story, wanted)) found.push(story);
      const stories = found.map((story) => row(story, on, close, draw, undone));
      list.replaceChildren(...stories);
      if (stories.length === 0) list.append(make("li", { class: "none" }, say("story.none")));
    };
    search.addEventListener("input", draw);
    draw();
    const begin = make("button", { type: "button", class: "go", on: { click: () => { close(); on.begin(); } } }, say("do.new"));
    return [make("div", { class: "body" }, make("div", { class: "row" }, search, begin), undone, list)];
  });
}

/** Whether a story's name or text has the words that are looked for. */
async function holds(journal, story, wanted) {
  if (`${story.title} ${story.opening}`.toLocaleLowerCase().includes(wanted)) return true;
  const { text } = new Document(await journal.load(story.id));
  return text.toLocaleLowerCase().includes(wanted);
}

function row(story, on, close, draw, undone) {
  const title = nameOf(story) || say("story.untitled");
  const when = new Date(story.updated).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  const open = make("button", { type: "button", class: "story", on: { click: () => { close(); on.open(story.id); } } },
    make("b", { dir: "auto" }, title), make("small", {}, `${when} · ${say("story.characters", { count: number(story.length) })}`));
  const rename = make("button", { type: "button", class: "plain", "aria-label": `${say("do.rename")}: ${title}`, title: say("do.rename"), on: { click: () => replaceByField(item, story, on, draw) } }, "✎");
  const remove = make("button", { type: "button", class: "plain", "aria-label": `${say("do.delete")}: ${title}`, title: say("do.delete"), on: { click: async () => {
    await on.delete(story.id, true);
    const back = make("button", { type: "button", on: { click: async () => { await on.delete(story.id, false); undone.replaceChildren(); draw(); } } }, say("do.undoDelete"));
    undone.replaceChildren(make("div", { class: "notice" }, make("span", {}, say("story.deleted", { title })), back));
    await draw();
    back.focus();
  } } }, "×");
  const item = make("li", {}, open, rename, remove);
  return item;
}

function replaceByField(item, story, on, draw) {
  const field = make("input", { value: story.title, "aria-label": say("story.name"), maxlength: 200 });
  const submit = async (event) => {
    event.preventDefault();
    await on.rename(story.id, field.value.trim());
    draw();
  };
  item.replaceChildren(make("form", { class: "row", on: { submit } }, field, make("button", { class: "go" }, say("do.ok"))));
  field.focus();
}
