// Where each node of a story's tree stands on a small map. Knows no page.
//
// The way through the head runs straight down; side branches stand to its right. A stretch of the
// writer's edits with no branch in it is one dot, its last node's.

/** {dots: [{node, nodes, row, column, parent}], rows, columns}; `parent` is another dot or null. */
export function layOut(story) {
	const dots = [];
	const ways = mainWay(story);
	const used = []; // the columns taken in each row
	const queue = [{ node: story.root, parent: null }];
	while (queue.length > 0) {
		const { node, parent } = queue.shift();
		const nodes = stretch(story, node);
		const row = parent === null ? 0 : parent.row + 1;
		const column = placeIn(used, row, parent?.column ?? 0, ways.has(node.id));
		const dot = { node: nodes.at(-1), nodes, row, column, parent, isMain: ways.has(node.id) };
		dots.push(dot);
		const children = [...story.childrenOf(dot.node)].sort((a, b) => ways.has(b.id) - ways.has(a.id));
		queue.push(...children.map((child) => ({ node: child, parent: dot })));
	}
	return { dots, rows: used.length, columns: Math.max(...dots.map((dot) => dot.column)) + 1 };
}

function mainWay(story) {
	const ids = new Set();
	for (let node = story.head; node !== undefined; node = story.nodes.get(node.parent)) ids.add(node.id);
	return ids;
}

/** From a node on, the edits that follow each other without a branch and without the head. */
function stretch(story, node) {
	const nodes = [node];
	while (nodes.at(-1).kind === "edit" && nodes.at(-1) !== story.head) {
		const children = story.childrenOf(nodes.at(-1));
		if (children.length !== 1 || children[0].kind !== "edit") break;
		nodes.push(children[0]);
	}
	return nodes;
}

function placeIn(used, row, wanted, isMain) {
	used[row] ??= new Set();
	let column = isMain ? 0 : Math.max(1, wanted);
	while (used[row].has(column)) column += 1;
	used[row].add(column);
	return column;
}
