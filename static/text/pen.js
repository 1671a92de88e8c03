// The machine's pen: a mark where it writes, a wash over what is new, and a view that keeps up with it
// unless the reader has looked elsewhere.

import { find } from "../frame/element.js";

const FRESH = 60; // characters

export class Pen {
	constructor(surface, painter) {
		this.surface = surface;
		this.painter = painter;
		this.mark = find("#pen");
		this.run = null;
		this.following = false;
		for (const gesture of ["wheel", "touchmove", "pointerdown"]) {
			addEventListener(gesture, () => { this.following = false; }, { passive: true });
		}
		addEventListener("keydown", ({ key }) => { if (this.run === null || /^(Arrow|Page|Home|End)/.test(key)) this.following = false; });
		addEventListener("resize", () => { if (this.run !== null) this.#place(); });
	}

	wait(run) {
		if (run.aside) return;
		this.run = run;
		this.start = this.place = run.place; // nothing of the writer's is washed
		this.following = this.#isInView(run.place);
		this.mark.classList.add("waiting");
		this.#place();
	}

	write(run) {
		if (run.aside) return;
		this.mark.classList.remove("waiting");
		this.painter.set("fresh", [this.surface.range(Math.max(this.start, run.place - FRESH), run.place)]);
		this.#place();
		this.place = run.place;
		this.keepUp();
	}

	/** Also where it wrote last, when the bar grows over that. */
	keepUp() {
		if (this.following) this.surface.keepInView(this.place);
	}

	/** A run is over; another may have the pen by now. */
	rest(run) {
		if (run !== this.run) return;
		this.run = null;
		this.mark.hidden = true;
		this.painter.set("fresh", []);
	}

	#place() {
		const rect = this.surface.rectAt(this.run.place);
		const frame = this.surface.element.getBoundingClientRect();
		const { style } = this.mark;
		style.left = `${rect.left - frame.left + 1}px`;
		style.top = `${rect.top - frame.top + rect.height * 0.08}px`;
		style.height = `${rect.height * 0.84}px`;
		this.mark.hidden = false;
	}

	#isInView(offset) {
		const { top, bottom } = this.surface.rectAt(offset);
		return bottom > 0 && top < innerHeight;
	}
}
