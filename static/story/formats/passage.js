// A passage to show elsewhere, in two colours with its title and its model's name: as HTML, and as lines to draw.
// Knows no page.

import { nameOf } from "../library.js";
import { slice, textOf } from "../pieces.js";

export const COLOURS = { paper: "#fbf9f5", ink: "#1f1d1a", quiet: "#6a655d", edge: "#ddd8ce", machine: "#b3261e" };
const CLOSING = /^[\p{Pe}\p{Pf}!,.:;?。，、；：！？…]/u; // what no line should begin with

/** {title, credit, paragraphs}: what stands from `start` to `end`; a paragraph is a list of {text, isMachine}. */
export function passageOf(story, { start, end }, credit) {
	const paragraphs = [[]];
	for (const { text, by } of slice(story.pieces, start, end)) {
		for (const [index, line] of text.split("\n").entries()) {
			if (index > 0) paragraphs.push([]);
			addTo(paragraphs.at(-1), { text: line, isMachine: by !== null });
		}
	}
	const isText = (runs) => runs.some(({ text }) => text.trim() !== "");
	const last = paragraphs.findLastIndex(isText);
	return { title: nameOf(story), credit, paragraphs: paragraphs.slice(paragraphs.findIndex(isText), last + 1) };
}

function addTo(runs, run) {
	const last = runs.at(-1);
	if (run.text === "") return;
	if (last?.isMachine === run.isMachine) last.text += run.text;
	else runs.push(run);
}

/** One element with its styles inside it, so that it looks the same wherever it is put. */
export function toHtml({ title, credit, paragraphs }) {
	const { paper, ink, quiet, machine } = COLOURS;
	const spans = (runs) => runs.map(({ text, isMachine }) => (isMachine ? `<span style="color:${machine}">${escape(text)}</span>` : escape(text))).join("");
	const body = paragraphs.map((runs) => `<p dir="auto" style="margin:0;min-height:1.6em;white-space:pre-wrap">${spans(runs)}</p>`);
	return `<blockquote style="max-width:40em;margin:1em 0;padding:1.5em 2em;background:${paper};color:${ink};font:1.1em/1.6 Georgia,serif">
${body.join("\n")}
<footer style="margin-top:1.2em;color:${quiet};font-size:.8em"><cite>${escape(title)}</cite> · ${escape(credit)}</footer>
</blockquote>
`;
}

function escape(text) {
	return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("'", "&#39;");
}

/**
 * A paragraph as lines no wider than `width`, each a list of {text, isMachine, x}.
 * @param {(text: string) => number} measure
 */
export function wrap(runs, width, measure) {
	const lines = [[]];
	let x = 0;
	const place = (parts) => {
		for (const part of parts) {
			lines.at(-1).push({ ...part, x });
			x += measure(part.text);
		}
	};
	const fit = (text) => {
		if (x === 0 || x + measure(text.trimEnd()) <= width) return;
		lines.push([]);
		x = 0;
	};
	for (const word of wordsOf(runs)) {
		const text = textOf(word);
		if (measure(text.trimEnd()) > width) {
			for (const letter of lettersOf(word)) {
				if (!CLOSING.test(letter.text)) fit(letter.text);
				place([letter]);
			}
		} else {
			fit(text);
			place(word);
		}
	}
	return lines;
}

/** The words of a paragraph, each with the space behind it and cut where the author changes. */
function wordsOf(runs) {
	const words = [];
	for (const { text, isMachine } of runs) {
		for (const part of text.match(/\S+\s*|\s+/g) ?? []) {
			const last = words.at(-1);
			if (last === undefined || /\s$/.test(last.at(-1).text)) words.push([{ text: part, isMachine }]);
			else last.push({ text: part, isMachine });
		}
	}
	return words;
}

function lettersOf(word) {
	const letters = new Intl.Segmenter(undefined, { granularity: "grapheme" });
	return word.flatMap(({ text, isMachine }) => [...letters.segment(text)].map(({ segment }) => ({ text: segment, isMachine })));
}
