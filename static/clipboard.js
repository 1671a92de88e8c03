// Copy, cut, paste and drag: within the page every character keeps its author.

import { mark } from "./files.js";
import { slice, textOf } from "./pieces.js";

const OURS = "application/x-continuo"; // pieces as JSON, for this page in any tab

export function connect(surface, story) {
  const { element } = surface;
  const selected = () => slice(story().pieces, surface.selected.start, surface.selected.end);
  const take = (transfer) => {
    const pieces = selected();
    transfer.setData("text/plain", textOf(pieces));
    transfer.setData(OURS, JSON.stringify(pieces));
  };
  for (const kind of ["copy", "cut"]) {
    element.addEventListener(kind, (event) => {
      if (surface.selected.start === surface.selected.end) return;
      event.preventDefault();
      take(event.clipboardData);
      if (kind === "cut") surface.type("");
    });
  }
  element.addEventListener("paste", (event) => {
    event.preventDefault();
    surface.type(given(event.clipboardData));
  });
  connectDrag(surface, story, take);
}

function connectDrag(surface, story, take) {
  const { element } = surface;
  let dragged = null; // the stretch that is being moved within the text
  element.addEventListener("dragstart", (event) => {
    dragged = { ...surface.selected };
    take(event.dataTransfer);
  });
  element.addEventListener("dragend", () => { dragged = null; });
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    const at = surface.caretAt(event.clientX, event.clientY);
    if (at === null || (dragged !== null && at >= dragged.start && at <= dragged.end)) return;
    const put = given(event.dataTransfer);
    const isMoved = dragged !== null && !event.ctrlKey;
    const length = dragged === null ? 0 : dragged.end - dragged.start;
    if (isMoved) surface.type("", dragged);
    surface.type(put, at > (dragged?.end ?? Infinity) && isMoved ? { start: at - length, end: at - length } : { start: at, end: at });
    dragged = null;
    surface.focus();
  });
}

/** What a clipboard or a drag brings: pieces of ours, or a text that now is the writer's. */
function given(transfer) {
  const ours = transfer.getData(OURS);
  return ours !== "" ? JSON.parse(ours) : transfer.getData("text/plain").replace(/\r\n?/g, "\n");
}

/** Put pieces on the clipboard, as colours for other programs or as plain text. */
export function copy(pieces, inColour) {
  const text = textOf(pieces);
  const coloured = mark(pieces).replaceAll("<ins>", '<span style="color:#b3261e">').replaceAll("</ins>", "</span>").replaceAll("\n", "<br>");
  const listener = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
    event.clipboardData.setData("text/plain", text);
    if (inColour) event.clipboardData.setData("text/html", coloured);
  };
  // Works on plain HTTP too, where navigator.clipboard is missing.
  addEventListener("copy", listener, { capture: true });
  const isCopied = document.execCommand("copy");
  removeEventListener("copy", listener, { capture: true });
  return isCopied;
}
