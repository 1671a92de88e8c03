"""What the openai package makes of the server at argv[1]; printed as JSON."""

import json
import sys

import openai

PROMPT = "Once upon a time"

client = openai.OpenAI(base_url=sys.argv[1] + "/v1", api_key="none", max_retries=0)
said = {"models": [model.id for model in client.models.list()]}
name = said["models"][0]
said["window"] = client.models.retrieve(name).max_model_len


def complete(**asked):
    return client.completions.create(**({"model": name, "prompt": PROMPT} | asked))


said["greedy"] = complete(max_tokens=12, temperature=0).model_dump()
drawn = {"max_tokens": 30, "seed": 7, "temperature": 1.5, "n": 2}
said["whole"] = complete(**drawn).model_dump()
chunks = list(complete(**drawn, stream=True, stream_options={"include_usage": True}))
said["chunks"] = [chunk.model_dump() for chunk in chunks]
said["lists"] = complete(prompt=[PROMPT, "The end"], max_tokens=3, echo=True).model_dump()
said["scored"] = complete(max_tokens=0, echo=True, logprobs=2).model_dump()
said["best"] = complete(max_tokens=4, best_of=4, seed=1, logprobs=0).model_dump()
said["biased"] = complete(max_tokens=4, temperature=0, logit_bias={"11": 100}).model_dump()

for mistake in ({"temperature": 9}, {"suffix": "."}, {"prompt": "word " * 200}):
    try:
        complete(**mistake)
    except openai.BadRequestError as error:
        said.setdefault("mistakes", []).append([error.param, error.code, error.message])

try:
    client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
except openai.BadRequestError as error:
    said["chat"] = error.message

with complete(max_tokens=5000, stream=True) as stream:
    said["left_after"] = next(iter(stream)).choices[0].text

print(json.dumps(said))
