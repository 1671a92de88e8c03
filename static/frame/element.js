// Elements made in one line: make("button", { class: "go", on: { click } }, "Go"). Text stays text.

export function make(name, attributes = {}, ...children) {
	const element = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (key === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
		else if (value === true) element.setAttribute(key, "");
		else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
	}
	element.append(...children);
	return element;
}

export function button(label, click, attributes = {}, ...children) {
	return make("button", { type: "button", ...attributes, on: { click } }, label, ...children);
}

/** The small × that closes something. */
export function cross(label, close) {
	return button("×", close, { class: "plain", "aria-label": label });
}

export const find = (selector) => document.querySelector(selector);

/** Whether keys can be spoken of: a phone has none to press until one types. */
export const hasKeyboard = !matchMedia("(hover: none) and (pointer: coarse)").matches;
