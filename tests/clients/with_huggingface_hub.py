"""What huggingface_hub's InferenceClient makes of the server at argv[1]; printed as JSON."""

import dataclasses
import json
import sys

from huggingface_hub import InferenceClient
from huggingface_hub.errors import TextGenerationError

client = InferenceClient(sys.argv[1])
asked = {
    "max_new_tokens": 12,
    "do_sample": True,
    "seed": 7,
    "temperature": 1.5,
    "return_full_text": False,
}


def write(**more):
    return client.text_generation("Once upon a time", **(asked | more))


def plain(output):
    return dataclasses.asdict(output)


said = {
    "text": write(),
    "full": write(return_full_text=True),
    "details": plain(write(details=True, decoder_input_details=True, top_n_tokens=2)),
    "best": plain(write(details=True, best_of=3)),
    "pieces": list(write(stream=True)),
    "events": [plain(event) for event in write(stream=True, details=True)],
    "greedy": client.text_generation("Once upon a time", max_new_tokens=12),
}
try:
    write(top_p=1.0)
except TextGenerationError as error:
    said["mistake"] = [type(error).__name__, str(error)]
print(json.dumps(said))
