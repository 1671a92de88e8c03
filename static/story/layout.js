// Where each node of a story's tree stands on a small map. Knows no page.
//
// The way through the head runs straight down; side branches stand to its right. A stretch of the
// writer's edits with no branch in it is one dot, its last node's. Of a long story it is the part
// around the head.

const ABOVE = 40; // nodes between the first dot and the head
const MOST = 120; // dots, where there is not more than the way to the head

/** {dots: [{node, nodes, row, column, parent}], rows, columns}; `parent` is another dot or null. */
export function layOut(story) {
	const dots = [];
	const way = [...story.upwards()];
	const ways = new Set(way);
	const used = []; // the columns taken in each row
	const queue = [{ node: way[Math.min(ABOVE, way.length - 1)], parent: null }];
	for (const { node, parent } of queue) {
		if (dots.length >= MOST && !ways.has(node)) continue;
		const nodes = stretch(story, node);
		const row = parent === null ? 0 : parent.row + 1;
		const isMain = ways.has(node);
		const column = placeIn(used, row, parent?.column ?? 0, isMain);
		const dot = { node: nodes.at(-1), nodes, row, column, parent, isMain };
		dots.push(dot);
		const children = [...story.childrenOf(dot.node)].sort((a, b) => Number(ways.has(b)) - Number(ways.has(a)));
		queue.push(...children.map((child) => ({ node: child, parent: dot })));
	}
	return { dots, rows: used.length, columns: Math.max(...dots.map((dot) => dot.column)) + 1 };
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
