// The models that the server offers, and the one that is used here.

import { recall, remember } from "./frame/storage.js";
import { drawModels } from "./frame/menu.js";
import { dismiss, notify } from "./frame/notices.js";
import { reason, say } from "./frame/language.js";
import { patiently } from "./machine/patience.js";
import * as server from "./machine/server.js";

export class Models {
	/** `on`: learned(parameters), chosen(model), refused(error), as where the server asks for a key. */
	constructor(on, wanted = new URLSearchParams(location.search).get("model")) {
		this.on = on;
		this.wanted = wanted; // by the address
		this.served = null; // as /models describes them
		this.chosen = null; // one of them
	}

	get isKnown() {
		return this.served !== null;
	}

	/** What a request says of the model. */
	get request() {
		return this.chosen === null || this.chosen.name === this.served.default ? {} : { model: this.chosen.name };
	}

	/** What readers call a model: its card's title, or its name. */
	titleOf(name = this.chosen?.name) {
		return this.served?.models.find((model) => model.name === name)?.card?.title || name;
	}

	/** What the server can do: its models and its parameters. */
	async learn() {
		this.learning?.abort(); // a key may be given while the server is waited for
		this.learning = new AbortController();
		const { signal } = this.learning;
		const ask = () => Promise.all([server.parameters(), server.models()]);
		const report = (wait) => notify("unknown", say("wait.goesOn", { reason: reason(wait) }));
		try {
			const [parameters, served] = await patiently(ask, signal, report);
			dismiss("unknown");
			this.served = served;
			this.on.learned(parameters);
			this.draw();
		} catch (error) {
			if (signal.aborted) return;
			if (!(error instanceof server.ServerError)) throw error;
			dismiss("unknown");
			this.on.refused(error);
		}
	}

	draw() {
		if (!this.isKnown) return;
		const name = this.chosen?.name ?? this.wanted ?? recall("model");
		this.chosen = drawModels(this.served, name, (picked) => {
			remember("model", picked);
			this.chosen = this.served.models.find((model) => model.name === picked);
			this.draw();
		});
		this.on.chosen(this.chosen);
	}
}
