// A passage as a picture and as HTML, to show in a chat or a forum.

import { copy } from "../text/clipboard.js";
import { show } from "../frame/dialogs.js";
import { button, make } from "../frame/element.js";
import { say } from "../frame/language.js";
import { COLOURS, toHtml, wrap } from "../story/formats/passage.js";
import { written } from "../story/pieces.js";

const WIDTH = 640; // pixels, each drawn as SCALE ones
const SCALE = 2;
const EDGE = 48;
const LINE = 32;
const FOOT = 44;
const HIGHEST = 8000; // pixels: browsers draw no canvas twice as high
const TEXT = '20px "Iowan Old Style", Palatino, "Noto Serif", Georgia, "Songti SC", "Noto Serif CJK SC", serif';
const TITLE = `italic ${TEXT.replace("20px", "15px")}`;
const CREDIT = "13px system-ui, sans-serif";

/** Show it as it will look; gives what was done: "copied", "failed", "saved", or null; "long" where it is too long. */
export async function showPassage(passage) {
	const canvas = draw(passage);
	if (canvas === null) return "long";
	const choice = await show(say("do.passage"), (close) => {
		const save = button(say("passage.save"), () => close("save"), { class: "go", autofocus: true });
		const copyPicture = button(say("passage.copy"), () => close("copy"));
		const source = button(say("passage.html"), () => close("html"));
		const canCopy = globalThis.ClipboardItem !== undefined && navigator.clipboard?.write !== undefined; // not on plain HTTP
		return [make("div", { class: "body passage" }, canvas, make("div", { class: "row" }, save, ...(canCopy ? [copyPicture] : []), source))];
	});
	if (choice === "html") return copy(written(toHtml(passage)), false) ? "copied" : "failed";
	if (choice === "copy") return navigator.clipboard.write([new ClipboardItem({ "image/png": toPng(canvas) })]).then(() => "copied", () => "failed");
	if (choice === "save") download(await toPng(canvas), passage.title);
	return choice === "save" ? "saved" : null;
}

function toPng(canvas) {
	return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function download(blob, title) {
	const address = URL.createObjectURL(blob);
	const name = title.replace(/[\\/:*?"<>|\s\x00-\x1f]+/g, " ").trim() || "story";
	make("a", { href: address, download: `${name}.png` }).click();
	setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** The passage on paper; null where it is too long for a picture. */
function draw({ title, credit, paragraphs }) {
	const canvas = make("canvas", { role: "img", "aria-label": paragraphs.map((runs) => runs.map(({ text }) => text).join("")).join("\n") });
	const pen = canvas.getContext("2d");
	const measure = (text) => pen.measureText(text).width;
	pen.font = TEXT;
	const lines = [];
	for (const runs of paragraphs) {
		const isRightToLeft = /^\P{L}*[\p{Script=Hebrew}\p{Script=Arabic}]/u.test(runs.map(({ text }) => text).join(""));
		for (const parts of wrap(runs, WIDTH - 2 * EDGE, measure)) lines.push({ parts, isRightToLeft });
		if (2 * EDGE + lines.length * LINE + FOOT > HIGHEST) return null;
	}
	const height = 2 * EDGE + lines.length * LINE + FOOT;
	canvas.width = WIDTH * SCALE;
	canvas.height = height * SCALE;
	pen.scale(SCALE, SCALE);
	pen.fillStyle = COLOURS.paper;
	pen.fillRect(0, 0, WIDTH, height);
	pen.font = TEXT;
	pen.textBaseline = "middle";
	for (const [index, { parts, isRightToLeft }] of lines.entries()) {
		pen.direction = isRightToLeft ? "rtl" : "ltr";
		pen.textAlign = "start";
		for (const { text, isMachine, x } of parts) {
			pen.fillStyle = isMachine ? COLOURS.machine : COLOURS.ink;
			pen.fillText(text, isRightToLeft ? WIDTH - EDGE - x : EDGE + x, EDGE + (index + 0.5) * LINE);
		}
	}
	sign(pen, title, credit, height - EDGE);
	return canvas;
}

/** Title and model's name below a line. */
function sign(pen, title, credit, y) {
	pen.direction = "ltr";
	pen.fillStyle = COLOURS.edge;
	pen.fillRect(EDGE, y - 24, WIDTH - 2 * EDGE, 1);
	pen.fillStyle = COLOURS.quiet;
	pen.font = CREDIT;
	pen.textAlign = "right";
	pen.fillText(credit, WIDTH - EDGE, y);
	const room = WIDTH - 2 * EDGE - pen.measureText(credit).width - 24;
	pen.font = /\p{Script=Han}/u.test(title) ? TITLE.replace("italic ", "") : TITLE; // Chinese has no italics
	pen.textAlign = "left";
	pen.fillText(cutTo(title, room, (text) => pen.measureText(text).width), EDGE, y);
}

function cutTo(text, width, measure) {
	if (measure(text) <= width) return text;
	let letters = [...text];
	while (letters.length > 0 && measure(`${letters.join("")}…`) > width) letters = letters.slice(0, -1);
	return `${letters.join("").trimEnd()}…`;
}
