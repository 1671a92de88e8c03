// The machine's side of a story: continue, retry, several at once, another word; stop, wait, go on.
// Knows no page.

import { lengthOf, textOf } from "../story/pieces.js";
import { patiently } from "./patience.js";
import { Run } from "./run.js";

export class Writing {
	/** `settings()` gives the request's parameters; `report(state)` hears how it goes, {phase, run, …}. */
	constructor(settings, report) {
		this.settings = settings;
		this.report = report;
		this.runs = new Set();
	}

	get busy() {
		return this.runs.size > 0;
	}

	/** No word comes after it: the story may be put away, or deleted, in the same breath. */
	stop() {
		for (const run of this.runs) {
			run.stop();
			run.close("cancelled");
		}
	}

	/** Follow a story: the writer may change it at any moment. */
	follow(story) {
		story.watch((event) => {
			for (const run of this.runs) if (run.story === story) run.moved(event);
		});
	}

	/** Write on at `at` in the text. */
	proceed(story, at, settings = this.settings()) {
		return this.#write(story, at, 0, { settings });
	}

	/** Another continuation from the same place; with `same`, the same one: its seed and its settings. */
	again(story, node, { same = false } = {}) {
		const settings = same ? { ...node.settings, seed: node.seed } : this.settings();
		const given = same ? textOf(node.put).slice(0, node.given) : "";
		const tokens = same ? givenTokens(node) : [];
		story.go(node.parent);
		return this.#write(story, node.at, lengthOf(node.cut), { settings, given, tokens });
	}

	/** A branch with `choice` instead of the token found at {node, index, token, start, end}. */
	branch(story, { node, index, token, start }, choice) {
		const settings = { ...this.settings(), healing: false }; // the chosen word stands as it is
		const chosen = { ...token, length: choice.text.length, logprob: choice.logprob };
		const until = endOfStretch(story.pieces, start);
		if (story.head !== node) return this.#write(story, start, until - start, { settings, given: choice.text, tokens: [chosen] });
		const before = [...node.tokens].slice(0, index);
		const given = story.text.slice(node.at, start) + choice.text;
		story.go(node.parent);
		return this.#write(story, node.at, lengthOf(node.cut), { settings, given, tokens: [...before, chosen] });
	}

	/** A continuation in the text itself: `length` characters at `at` give way to it. */
	#write(story, at, length, about) {
		return this.#run(new Run(story, [story.begin(at, length, about)], about.settings));
	}

	/** Ask once more for what a run was to write: from the same place, with the same beginning and settings. */
	repeat({ story, settings, firsts: [node] }) {
		story.go(node.parent);
		const given = textOf(node.put).slice(0, node.given);
		return this.#write(story, node.at, lengthOf(node.cut), { settings, given, tokens: givenTokens(node) });
	}

	/** Candidates side by side: one request for several of the same settings. */
	several(story, at, count) {
		const settings = { ...this.settings(), n: count };
		const nodes = Array.from({ length: count }, () => story.begin(at, 0, { settings: this.settings(), aside: true }));
		this.#run(new Run(story, nodes, settings, { aside: true }));
		return nodes;
	}

	/** The same seed at several temperatures; the later requests wait for the first one's pages. */
	temperatures(story, at, values) {
		const seed = this.settings().seed ?? Math.floor(Math.random() * 2 ** 32);
		const runs = values.map((temperature) => {
			const settings = { ...this.settings(), seed, temperature };
			return new Run(story, [story.begin(at, 0, { settings, aside: true })], settings, { aside: true });
		});
		const [first, ...later] = runs;
		this.#run(first);
		for (const run of later) this.#run(run, first.admitted);
		return runs.map((run) => run.nodes[0]);
	}

	async #run(run, turn = null) {
		this.runs.add(run);
		this.report({ phase: "waiting", run });
		let error = null;
		try {
			await turn;
			await patiently(() => run.read(this.report), run.abort.signal, (wait) => this.report({ ...wait, run }));
		} catch (caught) {
			error = caught;
		}
		const isStopped = run.abort.signal.aborted;
		run.close(isStopped ? "cancelled" : "failed");
		this.runs.delete(run);
		if (error !== null && !isStopped) this.report({ phase: "failed", error, run });
		else this.report({ phase: isStopped ? "stopped" : "written", run });
		return run;
	}
}

/** The tokens of what a continuation was given to start with. */
function givenTokens(node) {
	let length = 0;
	return [...node.tokens].filter((token) => {
		length += token.length;
		return length <= node.given;
	});
}

/** Where the machine's words that hold `at` come to an end: the writer's own begin there. */
function endOfStretch(pieces, at) {
	let end = 0;
	for (const piece of pieces) {
		if (end > at && piece.by === null) return end;
		end += piece.text.length;
	}
	return end;
}
