"""lm-eval's local-completions on the server at argv[1], with tasks of its own; printed as JSON.

stdin: {"choices": [{"text", "choices", "answer"}, ...], "documents": [text, ...]}
"""

import json
import sys
from pathlib import Path

import lm_eval


def task(name, documents, **config):
    path = Path(f"{name}.jsonl").resolve()
    path.write_text("".join(json.dumps(d) + "\n" for d in documents), encoding="utf-8")
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}},
        "test_split": "test",
    } | config


asked = json.load(sys.stdin)
tasks = [
    task(
        "choices",
        asked["choices"],
        output_type="multiple_choice",
        doc_to_text="{{text}}",
        doc_to_choice="{{choices}}",
        doc_to_target="{{answer}}",
        target_delimiter="",
        metric_list=[{"metric": "acc"}],
    ),
    task(
        "rolling",
        [{"text": text} for text in asked["documents"]],
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{text}}",
        metric_list=[{"metric": "bits_per_byte"}],
    ),
    task(
        "written",
        asked["choices"],
        output_type="generate_until",
        doc_to_text="{{text}}",
        doc_to_target="",
        generation_kwargs={"until": ["\n"], "max_gen_toks": 8},
        metric_list=[{"metric": "exact_match"}],
    ),
]
result = lm_eval.simple_evaluate(
    model="local-completions",
    model_args={
        "model": "tiny",
        "base_url": sys.argv[1] + "/v1/completions",
        "max_length": 128,
        "batch_size": 4,
    },
    tasks=tasks,
    log_samples=True,
    bootstrap_iters=0,
)
said = {
    name: [
        {"doc": sample["doc"], "resps": sample["resps"]}
        for sample in sorted(samples, key=lambda sample: sample["doc_id"])
    ]
    for name, samples in result["samples"].items()
}
said["accuracy"] = result["results"]["choices"]["acc,none"]
print(json.dumps(said))
