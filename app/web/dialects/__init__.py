"""Other servers' words for the same: a blueprint each, a thin translation over streaming.start."""

from flask import Flask

from .. import errors
from . import webui
from .kobold import about as kobold_about
from .kobold import reply as kobold_frames
from .kobold import routes as kobold
from .llamacpp import routes as llamacpp
from .openai import routes as openai
from .tgi import routes as tgi

BLUEPRINTS = (
    openai.openai,
    webui.webui,
    tgi.tgi,
    llamacpp.llamacpp,
    kobold.kobold,
    kobold_about.about,
)

SHAPES = {  # of errors, by the beginning of the path
    "/v1": openai.render,
    "/tokenizer_info": openai.render,
    "/generate_stream": tgi.render,
    "/info": tgi.render,
    "/completion": llamacpp.render,
    "/completions": llamacpp.render,
    "/props": llamacpp.render,
    "/slots": llamacpp.render,
    "/api": kobold_frames.render,
}

# Paths that several have in common: the key of the prompt tells whose request it is.
GENERATE = {"inputs": tgi.generate}
TOKENIZE = {"content": llamacpp.tokenize, "inputs": tgi.tokenize, "prompt": openai.tokenize}

DETOKENIZED = ("content", "prompt")  # llama.cpp's and vLLM's word for the text


def register(app: Flask) -> None:
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    for prefix, render in SHAPES.items():
        errors.speaks(app, prefix, render)
