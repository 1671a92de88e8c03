// The tree of a story as a small map: dots to walk with keys or pointer.

import { layOut } from "../story/layout.js";
import { cross, find, make } from "../frame/element.js";
import { textOf } from "../story/pieces.js";
import { number, say } from "../frame/language.js";

const STEP = 34; // pixels between rows
const SIDE = 24; // and between columns
const EDGE = 14;
const SVG = "http://www.w3.org/2000/svg";

export class TreeMap {
	/** `go(node)` and `close()` are told. */
	constructor(go, close) {
		this.go = go;
		this.close = close;
		this.panel = find("#map");
		this.panel.addEventListener("keydown", (event) => this.#key(event));
	}

	draw(story) {
		this.story = story;
		find("#bar [data-do=map]").ariaPressed = String(!this.panel.hidden && story.nodes.size > 1);
		if (story.nodes.size === 1) this.panel.replaceChildren();
		if (this.panel.hidden || story.nodes.size === 1) return;
		const hadFocus = this.panel.contains(document.activeElement);
		const { dots, rows, columns } = layOut(story);
		const scroller = make("div", { class: "tree" });
		scroller.style.height = `${(rows - 1) * STEP + 2 * EDGE}px`;
		scroller.style.width = `${(columns - 1) * SIDE + 2 * EDGE}px`;
		scroller.append(lines(dots), ...dots.map((dot) => this.#dot(dot)));
		this.panel.replaceChildren(make("div", { class: "scroll" }, scroller), make("p", {}, ways(story.childrenOf(story.head).length)), cross(say("do.close"), this.close));
		const here = this.panel.querySelector('[aria-current="true"]');
		this.#reveal(here);
		if (hadFocus) here.focus({ preventScroll: true });
	}

	#reveal(here) {
		const box = this.panel.firstChild;
		const [frame, dot] = [box, here].map((element) => element.getBoundingClientRect());
		box.scrollTop = dot.top - frame.top - box.clientHeight / 2;
		box.scrollLeft = dot.left - frame.left - box.clientWidth / 2;
	}

	#dot({ node, nodes, row, column }) {
		const isHere = nodes.includes(this.story.head);
		const label = labelOf(node);
		const button = make("button", {
			class: `dot ${node.kind}`, title: label, "aria-label": label,
			"aria-current": isHere ? "true" : null, tabindex: isHere ? 0 : -1,
			on: { click: () => this.go(node) },
		});
		button.style.left = `${EDGE + column * SIDE}px`;
		button.style.top = `${EDGE + row * STEP}px`;
		return button;
	}

	focus() {
		this.panel.querySelector('[aria-current="true"]')?.focus();
	}

	#key(event) {
		const { story } = this;
		const { head } = story;
		if (event.altKey || event.ctrlKey || event.metaKey) return;
		const siblings = head.parent === null ? [head] : story.childrenOf(story.nodes.get(head.parent));
		const beside = (step) => siblings[siblings.indexOf(head) + step];
		const target = { ArrowUp: story.nodes.get(head.parent), ArrowDown: story.next(), ArrowLeft: beside(-1), ArrowRight: beside(1) }[event.key];
		if (!event.key.startsWith("Arrow")) return;
		event.preventDefault();
		if (target !== undefined) this.go(target);
	}
}

function lines(dots) {
	const svg = document.createElementNS(SVG, "svg");
	svg.setAttribute("width", "100%");
	svg.setAttribute("height", "100%");
	svg.setAttribute("aria-hidden", "true");
	for (const { row, column, parent, isMain } of dots) {
		if (parent === null) continue;
		const path = document.createElementNS(SVG, "path");
		const [x0, y0, x, y] = [parent.column, parent.row, column, row].map((value, index) => EDGE + value * (index % 2 ? STEP : SIDE));
		path.setAttribute("d", x0 === x ? `M${x} ${y0}V${y}` : `M${x0} ${y0}C${x0} ${y0 + STEP * 0.7} ${x} ${y - STEP * 0.7} ${x} ${y}`);
		if (!isMain) path.setAttribute("class", "aside");
		svg.append(path);
	}
	return svg;
}

function ways(count) {
	if (count === 0) return "";
	return count === 1 ? say("map.ways.one") : say("map.ways", { count: number(count) });
}

function labelOf(node) {
	if (node.kind === "start") return say("map.start");
	const text = textOf(node.put).trim().replace(/\s+/g, " ");
	if (text === "" && node.kind === "edit") return say("map.erased", { count: number(textOf(node.cut).length) });
	const short = text === "" ? say("map.empty") : text.length > 60 ? `${text.slice(0, 59)}…` : text;
	return say(`map.${node.kind}`, { text: short });
}
