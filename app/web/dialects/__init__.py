"""Other servers' APIs: a blueprint for each, a thin translation to ours."""

from flask import Flask

from .. import addresses, errors
from . import webui
from .kobold import about as kobold_about
from .kobold import reply as kobold_reply
from .kobold import routes as kobold
from .llamacpp import routes as llamacpp
from .openai import reply as openai_reply
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

SHAPES = {  # how errors are rendered, by the beginning of the path
    "/v1": openai_reply.render,
    "/tokenizer_info": openai_reply.render,
    "/": tgi.render,
    "/generate_stream": tgi.render,
    "/invocations": tgi.render,
    "/info": tgi.render,
    "/completion": llamacpp.render,
    "/completions": llamacpp.render,
    "/props": llamacpp.render,
    "/slots": llamacpp.render,
    "/health": llamacpp.render,
    "/v1/health": llamacpp.render,
    "/api": kobold_reply.render,
}

CLAIMS = (
    ("/generate", "inputs", tgi.generate),
    ("/tokenize", "content", llamacpp.tokenize),
    ("/tokenize", "inputs", tgi.tokenize),
    ("/tokenize", "prompt", openai.tokenize),
)


def register(app: Flask) -> None:
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    for prefix, render in SHAPES.items():
        errors.speaks(app, prefix, render)
    for path, key, view in CLAIMS:
        addresses.claim(app, path, key, view)
