// Copy, cut and paste: within the page every character keeps its author.

import { mark } from "../story/formats/files.js";
import { arePieces, slice, textOf } from "../story/pieces.js";

const OURS = "application/x-continuo"; // pieces as JSON, for this page in any tab

export function connect(surface, story) {
	const { element } = surface;
	for (const kind of ["copy", "cut"]) {
		element.addEventListener(kind, (event) => {
			const { start, end } = surface.selected;
			if (start === end) return;
			event.preventDefault();
			const pieces = slice(story().pieces, start, end);
			event.clipboardData.setData("text/plain", textOf(pieces));
			event.clipboardData.setData(OURS, JSON.stringify(pieces));
			if (kind === "cut") surface.type("");
		});
	}
	element.addEventListener("paste", (event) => {
		event.preventDefault();
		const put = given(event.clipboardData);
		if (put.length > 0) surface.type(put); // a picture holds no text: what is selected stays
	});
	element.addEventListener("dragstart", (event) => event.preventDefault()); // dragging would lose who wrote what
}

/** What a clipboard brings: pieces of ours, or a text that now is the writer's. Any page may have put it there. */
function given(transfer) {
	return ours(transfer.getData(OURS)) ?? transfer.getData("text/plain").replace(/\r\n?/g, "\n");
}

function ours(json) {
	try {
		const pieces = JSON.parse(json);
		return arePieces(pieces) ? pieces : null;
	} catch {
		return null; // nothing of ours
	}
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
