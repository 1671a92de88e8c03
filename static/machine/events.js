// Server-sent events out of bytes, however the network cut them. Knows no address and no page.

/** Yields {event, data} for every event in an async iterable of Uint8Array; data is parsed JSON. */
export async function* readEvents(chunks) {
	const decoder = new TextDecoder("utf-8");
	let rest = "";
	for await (const chunk of chunks) {
		rest += decoder.decode(chunk, { stream: true });
		// A lone \r at the end may be the first half of \r\n: it waits for what follows.
		const whole = rest.endsWith("\r") ? rest.length - 1 : rest.length;
		const frames = rest.slice(0, whole).replace(/\r\n?/g, "\n").split("\n\n");
		rest = frames.pop() + rest.slice(whole);
		for (const frame of frames) yield* readFrame(frame);
	}
	yield* readFrame(rest + decoder.decode());
}

function* readFrame(frame) {
	const fields = { event: "message", data: [] };
	for (const line of frame.split("\n")) {
		const [, name, value] = /^([^:]*):? ?([^]*)$/.exec(line);
		if (name === "data") fields.data.push(value);
		else if (name === "event") fields.event = value;
	}
	if (fields.data.length > 0) yield { ...fields, data: JSON.parse(fields.data.join("\n")) };
}
