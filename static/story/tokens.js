// The tokens of a continuation that has ended, kept small. An hour of writing leaves ten thousand; as objects they take
// half a kilobyte each, here less than a hundred bytes. Knows neither story nor page.
//
//   {length, logprob, top: [{text, logprob}]}: its characters, how likely it was, and what it could have been

export class Tokens {
	constructor(tokens) {
		const texts = tokens.map(({ length, top }) => [length, ...top.map(({ text }) => text)]);
		this.texts = new TextEncoder().encode(JSON.stringify(texts)); // one character beyond Latin doubles a whole string
		const logprobs = tokens.flatMap(({ logprob, top }) => [logprob, ...top.map((other) => other.logprob)]);
		this.logprobs = Float32Array.from(logprobs, (logprob) => logprob ?? NaN); // the model computes no finer
	}

	*[Symbol.iterator]() {
		const logprobs = this.logprobs.values();
		for (const [length, ...texts] of JSON.parse(new TextDecoder().decode(this.texts))) {
			yield { length, logprob: next(logprobs), top: texts.map((text) => ({ text, logprob: next(logprobs) })) };
		}
	}
}

function next(logprobs) {
	const { value } = logprobs.next();
	return Number.isNaN(value) ? null : value;
}
