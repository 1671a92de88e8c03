"""What langchain-openai makes of the server at argv[1]; printed as JSON."""

import json
import sys

from langchain_openai import OpenAI

model = OpenAI(
    base_url=sys.argv[1] + "/v1",
    api_key="none",
    model="tiny",
    max_tokens=12,
    temperature=0,
    max_retries=0,
)
both = model.generate(["Once upon a time", "The end"])
print(
    json.dumps(
        {
            "text": model.invoke("Once upon a time"),
            "pieces": list(model.stream("Once upon a time")),
            "both": [generations[0].text for generations in both.generations],
            "usage": both.llm_output["token_usage"],
        }
    )
)
