"""Put the Flask app together."""

from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app.engine import AnyEngine

from . import dialects, errors, guard
from .docs.openapi import docs
from .health import health
from .native.routes import native
from .options import WebOptions
from .pages import pages
from .service import Service
from .watch import log
from .watch.status import status

ROOT = Path(__file__).resolve().parent.parent.parent  # templates/ and static/ are beside app/


def make_app(options: WebOptions, engine: AnyEngine) -> Flask:
    app = Flask(
        "continuo", template_folder=str(ROOT / "templates"), static_folder=str(ROOT / "static")
    )
    app.config["MAX_CONTENT_LENGTH"] = options.max_body
    app.config["MAX_FORM_MEMORY_SIZE"] = options.max_body
    app.url_map.strict_slashes = False  # some clients append a slash, some strip it
    app.extensions["continuo"] = Service(options, engine)
    log.register(app)
    guard.register(app)
    errors.register(app)
    for blueprint in (native, pages, health, docs, status):
        app.register_blueprint(blueprint)
    dialects.register(app)
    if options.proxies:
        n = options.proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=n, x_proto=n, x_host=n, x_prefix=n
        )
    return app
