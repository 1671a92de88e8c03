// Before the first paint: the theme that was chosen here, and the sign that scripts run.
{
	const root = document.documentElement;
	root.dataset.script = "on";
	try {
		root.dataset.theme = localStorage.getItem("continuo.theme") ?? "auto";
		root.dataset.sign = localStorage.getItem("continuo.sign") ?? "underline";
	} catch {
		root.dataset.sign = "underline"; // no storage allowed here: the page says so later
	}
}
