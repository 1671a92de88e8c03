// Lists and mappings as lines of a text field, and back. Knows no page.
//
// An item stands on one line: a line break in it is written \n, and a backslash \\.

export function toLines(value, type) {
	if (type.startsWith("dict")) return Object.entries(value).map((pair) => pair.join(" ")).join("\n");
	return value.map((item) => String(item).replaceAll("\\", "\\\\").replaceAll("\n", "\\n")).join("\n");
}

/** What the lines say so far: a mapping's line counts once its number is whole. */
export function fromLines(text, type) {
	const lines = text.split("\n").filter((line) => line !== "");
	if (type.startsWith("dict")) return Object.fromEntries(lines.map(readPair).filter(([key, value]) => key !== "" && Number.isFinite(value)));
	const items = lines.map((line) => line.replace(/\\(n|\\)/g, (_, sign) => (sign === "n" ? "\n" : "\\")));
	if (!type.includes("int")) return items;
	return items.map((item) => (/^\d+$/.test(item) ? Number(item) : item));
}

function readPair(line) {
	const [, key, value] = /^(.*?)\s*(\S*)$/.exec(line.trim());
	return [key, value === "" ? NaN : Number(value)];
}
