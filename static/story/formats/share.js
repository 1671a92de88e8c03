// A story inside an address: its text with authors, compressed into the part after #, which no browser sends
// to a server. What comes back is somebody else's data. Knows no page.

import { join } from "../pieces.js";

export const MARK = "#story=";
const LONGEST = 16_000; // characters of an address: the chats that links are sent by take no more
const MOST = 2_000_000; // bytes that an address may unfold to

/** The story as the end of an address, or null where it is too long for one. */
export async function toFragment({ title, pieces }) {
	const body = pieces.map(({ text, by }) => [text.toWellFormed(), by === null ? 0 : 1]);
	const bytes = new TextEncoder().encode(JSON.stringify({ continuo: 1, title, pieces: body }));
	const packed = await collect(new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate-raw")));
	const fragment = MARK + toBase64(packed);
	return fragment.length > LONGEST ? null : fragment;
}

/** {title, pieces} of such an end of an address; null where it is none, or damaged. */
export async function fromFragment(fragment) {
	if (!fragment.startsWith(MARK)) return null;
	try {
		const packed = fromBase64(fragment.slice(MARK.length));
		const bytes = await collect(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw")), MOST);
		return read(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
	} catch {
		return null; // whoever cut or changed it, there is no story in it
	}
}

function read(data) {
	const isPair = (pair) => Array.isArray(pair) && typeof pair[0] === "string" && (pair[1] === 0 || pair[1] === 1);
	if (data?.continuo !== 1 || typeof data.title !== "string" || !Array.isArray(data.pieces) || !data.pieces.every(isPair)) return null;
	let from = 0;
	const pieces = data.pieces.map(([text, by]) => {
		const piece = { text: text.replace(/\r\n?/g, "\n"), by: by === 1 ? "shared" : null, from: by === 1 ? from : 0 };
		from += text.length + 1; // so that two of the machine's pieces never join across one of the writer's
		return piece;
	});
	return { title: data.title.slice(0, 200), pieces: join(pieces) };
}

function toBase64(bytes) {
	const plain = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
	return plain.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

function fromBase64(text) {
	return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}

async function collect(stream, most = Infinity) {
	const parts = [];
	let length = 0;
	const reader = stream.getReader();
	for (let part = await reader.read(); !part.done; part = await reader.read()) {
		length += part.value.length;
		if (length > most) {
			await reader.cancel();
			throw new Error("too long");
		}
		parts.push(part.value);
	}
	return new Uint8Array(await new Blob(parts).arrayBuffer());
}
