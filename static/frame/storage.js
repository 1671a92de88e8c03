// Small things remembered on this device, where the browser allows it; forgotten where it does not.

function attempt(storage, task) {
	try {
		return task(globalThis[storage]);
	} catch (error) {
		if (error.name !== "SecurityError" && error.name !== "QuotaExceededError") throw error;
		return null;
	}
}

/** `storage` is localStorage (this device) or sessionStorage (this tab). */
export function recall(key, storage = "localStorage") {
	return attempt(storage, (area) => area.getItem(`continuo.${key}`));
}

export function remember(key, value, storage = "localStorage") {
	attempt(storage, (area) => area.setItem(`continuo.${key}`, value));
}

export function forget(key, storage = "localStorage") {
	attempt(storage, (area) => area.removeItem(`continuo.${key}`));
}

/** A name nobody else will think of; works on plain HTTP too, where randomUUID is missing. */
export function makeId() {
	return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
