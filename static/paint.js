// Colours over the text without touching it: the browser's highlight registry. Knows places, not reasons.

const EXTRA = ["fresh", "word", "heat-1", "heat-2", "heat-3", "heat-4", "heat-5", "loop"];

export class Painter {
  constructor() {
    this.supported = typeof Highlight !== "undefined";
    if (!this.supported) return;
    this.layers = new Map(["machine", ...EXTRA].map((name) => [name, new Highlight()]));
    for (const [name, layer] of this.layers) {
      layer.priority = CSS.highlights.size; // the later ones paint over the earlier
      CSS.highlights.set(name, layer);
    }
  }

  clear() {
    for (const layer of this.layers?.values() ?? []) layer.clear();
  }

  forget(line) {
    for (const mark of line.marks) this.layers?.get("machine").delete(mark);
    line.marks = [];
  }

  /** The machine's words in lines `from` to `to`, of which the first starts at `start` in the text. */
  authors(lines, from, to, start, pieces) {
    if (!this.supported) return;
    const walker = walk(pieces, start);
    let lineStart = start;
    for (const line of lines.slice(from, to + 1)) {
      this.forget(line);
      const lineEnd = lineStart + line.text.length;
      for (const [begin, end] of walker(lineStart, lineEnd)) this.#mark(line, begin - lineStart, end - lineStart);
      lineStart = lineEnd + 1;
    }
  }

  #mark(line, begin, end) {
    const node = line.element.firstChild;
    if (node?.nodeType !== Node.TEXT_NODE || end > node.length) return;
    const mark = new StaticRange({ startContainer: node, startOffset: begin, endContainer: node, endOffset: end });
    line.marks.push(mark);
    this.layers.get("machine").add(mark);
  }

  /** Paint these ranges, and no others, in a layer. */
  set(name, ranges) {
    const layer = this.layers?.get(name);
    layer?.clear();
    for (const range of ranges) layer?.add(range);
  }
}

/** Gives the machine's stretches of [begin, end), asked in rising order. */
function walk(pieces, offset) {
  let index = 0;
  let at = 0;
  while (index < pieces.length && at + pieces[index].text.length <= offset) {
    at += pieces[index].text.length;
    index += 1;
  }
  return function* stretches(begin, end) {
    for (; index < pieces.length && at < end; index += 1) {
      const next = at + pieces[index].text.length;
      const stretch = [Math.max(at, begin), Math.min(next, end)];
      if (pieces[index].by !== null && stretch[0] < stretch[1]) yield stretch;
      if (next > end) return;
      at = next;
    }
  };
}
