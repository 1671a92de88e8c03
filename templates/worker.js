// Keeps the page itself at hand, so that stories can be read and written while the server is away. What the
// server has is always asked for first; only where it does not answer is the copy shown. Knows no story.

const NAME = "continuo-{{ version }}"; // of these files: other files are another worker
const FILES = {{ files | tojson }};
const home = new URL("./", location.href).href;

self.addEventListener("install", (event) => {
	self.skipWaiting();
	event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(["./", ...FILES])));
});

self.addEventListener("activate", (event) => {
	event.waitUntil(cleaned().then(() => self.clients.claim()));
});

async function cleaned() {
	const names = await caches.keys();
	const old = names.filter((name) => name.startsWith("continuo-") && name !== NAME);
	await Promise.all(old.map((name) => caches.delete(name)));
}

self.addEventListener("fetch", (event) => {
	const { request } = event;
	const isPage = request.mode === "navigate" && request.url.split(/[?#]/)[0] === home;
	const isFile = request.url.startsWith(`${home}static/`);
	if (request.method === "GET" && (isPage || isFile)) event.respondWith(answer(request, isPage));
});

async function answer(request, isPage) {
	try {
		return await fetch(request);
	} catch (error) {
		const kept = await caches.match(isPage ? "./" : request, { ignoreSearch: true });
		if (kept === undefined) throw error;
		return kept;
	}
}
