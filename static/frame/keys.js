// The keyboard: one table of what can be done, and with which keys. Knows no page.
//
// mod is Ctrl, on a Mac Cmd; side is Alt, on a Mac Ctrl and Cmd together.

export const IS_MAC = /Mac|iPhone|iPad/.test(globalThis.navigator?.platform ?? "");

export const KEYS = {
	continue: ["mod Enter"],
	stop: ["Escape"],
	retry: ["mod shift Enter"],
	previous: ["side ArrowLeft"],
	next: ["side ArrowRight"],
	undo: ["mod z", "side ArrowUp"],
	redo: ["mod shift z", "mod y", "side ArrowDown"],
	several: ["side Enter"],
	temperatures: ["side shift Enter"],
	alternatives: ["mod ."],
	again: ["side g"],
	ban: ["side b"],
	heat: ["side h"],
	heatTable: ["side l"],
	ghost: ["side j"],
	map: ["side t"],
	read: ["side r"],
	count: ["side k"],
	stories: ["side s"],
	new: ["side n"],
	rename: ["F2"],
	memory: ["side p"],
	settings: ["side m"],
	copyColour: ["side c"],
	write: ["side w"],
	help: ["mod /", "?"],
};

/** The name of what a key event asks for, or null. `isTyping`: plain characters belong to a text. */
export function actionOf(event, isTyping) {
	const name = keyName(event);
	for (const [action, combinations] of Object.entries(KEYS)) {
		if (combinations.includes(name) && !(isTyping && name === "?")) return action;
	}
	return null;
}

function keyName(event) {
	const { ctrlKey, metaKey, altKey, shiftKey } = event;
	const side = IS_MAC ? ctrlKey && metaKey : altKey && !ctrlKey && !metaKey;
	const mod = !side && (IS_MAC ? metaKey : ctrlKey);
	if (!side && altKey) return null;
	// With Alt a layout may give another character: the key's place says which letter is meant.
	const letter = side && /^Key[A-Z]$/.test(event.code) ? event.code.at(-1) : event.key;
	const key = letter.length === 1 ? letter.toLowerCase() : letter;
	const shift = shiftKey && key !== "?" && key !== "/";
	return [side && "side", mod && "mod", shift && "shift", key].filter(Boolean).join(" ");
}

const SYMBOLS = { Enter: "↵", Escape: "Esc", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

/** A combination as people read it: Ctrl ↵, ⌘ ↵. */
export function readable(combination) {
	const names = IS_MAC ? { mod: "⌘", side: "⌃⌘", shift: "⇧" } : { mod: "Ctrl", side: "Alt", shift: "Shift" };
	return combination.split(" ").map((key) => names[key] ?? SYMBOLS[key] ?? key.toUpperCase()).join(" ");
}
