// The models that the server offers, and the one that is used here.

import { recall, remember } from "./frame/storage.js";
import { drawModels } from "./frame/menu.js";
import { dismiss, notify } from "./frame/notices.js";
import { say } from "./frame/language.js";
import * as server from "./machine/server.js";

const AGAIN_MS = 3000; // until a server that is not ready is asked again

export class Models {
	/** `on`: learned(parameters), chosen(model), refused(error): the server asks for a key. */
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
		try {
			const [parameters, served] = await Promise.all([server.parameters(), server.models()]);
			this.served = served;
			this.on.learned(parameters);
			this.draw();
			dismiss("unknown");
		} catch (error) {
			if (["key", "wrongKey"].includes(error.kind)) return this.on.refused(error);
			notify("unknown", say(`why.${error.kind}`, { message: error.message }));
			setTimeout(() => this.learn(), AGAIN_MS);
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
