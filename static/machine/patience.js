// Asking a server that may be full, away or not ready: again and again, until it answers. Knows no page.

import { ServerError } from "./server.js";

const WAITS = { busy: "full", limit: "limited", offline: "away", loading: "unready" }; // the phase meanwhile
const MOST_WAITED = 120; // seconds
const MOST_BETWEEN = 15; // seconds between two attempts to reach a server that is away or not ready

/** What `ask()` gives in the end. A server that is full, or that has been asked too often, is asked again when it
 * said, unless that is too long to wait; one that is away or not ready, after a second and then ever more rarely.
 * `report` hears how long it is until then, every second: {phase, seconds, error}. */
export async function patiently(ask, signal, report) {
	for (let next = 1; ;) {
		try {
			return await ask();
		} catch (error) {
			const phase = error instanceof ServerError ? WAITS[error.kind] : undefined;
			const isGone = phase === "away" || phase === "unready";
			const seconds = isGone ? next : error.retryAfter ?? 5;
			if (phase === undefined || seconds > MOST_WAITED) throw error;
			await countDown({ phase, seconds, error }, signal, report);
			if (isGone) next = Math.min(2 * next, MOST_BETWEEN);
		}
	}
}

/** A network that returns ends the waiting for a server that is away. */
async function countDown({ phase, seconds, error }, signal, report) {
	let isBack = false;
	for (let left = Math.ceil(seconds); left > 0 && !isBack; left -= 1) {
		report({ phase, seconds: left, error });
		isBack = await pause(1000, signal) && phase === "away";
	}
}

/** Wait so long, or until the network is back: then true. Throws the signal's reason. */
function pause(ms, signal) {
	const over = new AbortController();
	const once = { signal: over.signal };
	let timer;
	return new Promise((resolve, reject) => {
		timer = setTimeout(() => resolve(false), ms);
		addEventListener("online", () => resolve(true), once);
		signal.addEventListener("abort", () => reject(signal.reason), once);
	}).finally(() => {
		clearTimeout(timer);
		over.abort();
	});
}
