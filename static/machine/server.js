// The one module that talks to the server. Knows its addresses and its errors, and no page.

import { forget, recall, remember } from "../frame/storage.js";
import { readEvents } from "./events.js";

const BASE = new URL("../../", import.meta.url); // where the server is, under any path
let key = recall("key", "sessionStorage") ?? recall("key");
let story = null;

/** What a writer has to be told of, in the sentence why.KIND. Besides, a server may be "offline" or "loading", and
 * whoever asks it waits. */
export const KINDS = ["broken", "key", "wrongKey", "busy", "limit", "request", "server"];

/** One of these kinds, with the server's own sentence, and what the engine or else the server calls the trouble. */
export class ServerError extends Error {
	constructor(kind, message, { retryAfter = null, state = null } = {}) {
		super(message);
		this.kind = kind;
		this.retryAfter = retryAfter;
		this.state = state;
	}
}

export function useKey(value, isKept) {
	key = value;
	remember("key", value, "sessionStorage");
	if (isKept) remember("key", value);
	else forget("key");
}

/** The story that requests are about: of several servers, a proxy asks the one that has read it before. */
export function useStory(id) {
	story = id;
}

/** Continue a prompt: yields the server's events {event, data} until done. Throws ServerError, or AbortError. */
export async function* generate(body, signal) {
	const response = await ask("generate", { body: { ...body, stream: true }, accept: "text/event-stream", signal });
	let last = null;
	try {
		for await (const event of readEvents(chunksOf(response.body))) {
			if (event.event === "error") throw new ServerError("server", event.data.message);
			last = event.event;
			yield event;
		}
	} catch (error) {
		if (error instanceof ServerError || signal.aborted) throw error;
		throw new ServerError("broken", error.message);
	}
	if (last !== "done") throw new ServerError("broken", "The stream ended early.");
}

async function* chunksOf(body) {
	const reader = body.getReader(); // Safari's streams cannot be iterated
	try {
		for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
	} finally {
		await reader.cancel().catch(() => {}); // already broken or aborted: nothing is left to end
	}
}

export async function score(prompt, text, top, model, signal) {
	const body = { prompt, text, top, ...(model && { model }) };
	return (await answer("score", { body, signal })).results[0];
}

export function tokenize(text, model, signal) {
	return answer("tokenize", { body: { text, ...(model && { model }) }, signal });
}

export function models() {
	return answer("models");
}

export async function parameters() {
	return (await answer("parameters")).parameters;
}

export function words(language) {
	return answer(`static/words/${language}.json`);
}

/** An answer of JSON. What is none was cut off, or another's than the server's. */
async function answer(path, options = {}) {
	const response = await ask(path, options);
	try {
		return await response.json();
	} catch (error) {
		if (options.signal?.aborted) throw error;
		throw new ServerError("offline", error.message);
	}
}

/** @param {string} path  @param {{body?: object, accept?: string, signal?: AbortSignal}} options */
async function ask(path, { body, accept = "application/json", signal } = {}) {
	const headers = { Accept: accept };
	if (key !== null) headers.Authorization = `Bearer ${key}`;
	if (body !== undefined) headers["Content-Type"] = "application/json";
	if (body !== undefined && story !== null) headers["X-Story"] = story;
	const method = body === undefined ? "GET" : "POST";
	let response;
	try {
		response = await fetch(new URL(path, BASE), { method, headers, body: JSON.stringify(body), signal });
	} catch (error) {
		if (signal?.aborted) throw error;
		throw new ServerError("offline", error.message);
	}
	if (!response.ok) throw await refusal(response);
	return response;
}

const BY_TYPE = {
	no_key: "key", wrong_key: "wrongKey", rate_limit: "limit", overloaded: "busy", engine_error: "server",
	unavailable: "loading", stopping: "loading", engine_stopped: "loading",
};
const BY_STATUS = { 401: "key", 429: "limit", 502: "offline", 503: "offline", 504: "offline" }; // where a proxy refuses, without a type

async function refusal(response) {
	const reply = await response.json().catch(() => ({})); // a proxy's page is no JSON
	const error = reply.error ?? reply;
	const kind = BY_TYPE[error.type] ?? BY_STATUS[response.status] ?? (response.status < 500 ? "request" : "server");
	const retryAfter = Number(response.headers.get("Retry-After")) || null;
	return new ServerError(kind, error.message ?? response.statusText, { retryAfter, state: error.state ?? error.type });
}
