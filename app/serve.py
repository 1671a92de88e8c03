"""`continuo serve`: turn options into settings, and replace this process by gunicorn."""

import errno
import os
import socket
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from app.settings import SETTINGS, Setting, SettingsError, as_environment, read_settings

CONFIG = Path(__file__).resolve().parent.parent / "deployment" / "gunicorn.conf.py"


def _serve(models: tuple[str, ...], **given: Any) -> None:
    """Serve MODELS to browsers and programs.

    MODELS are names in models/ or paths; by default models/gpt2-pytorch_model.bin if it exists,
    else the starter.
    """
    from app import find_models

    given = {name: value for name, value in given.items() if value not in (None, ())}
    if models:
        given["models"] = models
    settings = read_settings(given)
    if settings.models:  # absolute, since they are relative to this folder
        given["models"] = tuple(find_models(settings.models).values())
    _refuse_an_unusable_address(settings.host, settings.port)
    command = [sys.executable, "-m", "gunicorn", "-c", str(CONFIG), "app:create_app()"]
    os.execve(sys.executable, command, as_environment(given))


def _refuse_an_unusable_address(host: str, port: int) -> None:
    """In one sentence, where gunicorn would try for five seconds and log eleven lines."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host.strip("[]"), port), family=family).close()
    except OSError as error:  # of anything else gunicorn may make more
        if error.errno == errno.EADDRINUSE:
            problem = (
                f"Port {port} is in use: stop the server that listens there, "
                "or name another with --port."
            )
        elif error.errno in (errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN):
            problem = (
                f"{host} is no address of this machine: name one with --host, or 0.0.0.0 for all."
            )
        elif error.errno == errno.EACCES:
            problem = f"Only root may listen on port {port}: name one above 1023 with --port."
        else:
            return
        raise SettingsError(problem) from None


def _option(setting: Setting) -> click.Option:
    default = ",".join(setting.default) if isinstance(setting.default, tuple) else setting.default
    default_text = "" if default in (None, "") else f"; default {default}"
    name = setting.name.replace("_", "-")
    if setting.type is bool:  # None unless given, so that the environment counts
        return click.Option(
            [f"--{name}/--no-{name}"],
            is_flag=True,
            default=None,
            help=f"{setting.help} [{setting.variable}{default_text}]",
        )
    return click.Option(
        [f"--{name}"],
        metavar=_metavar(setting.type),
        help=f"{setting.help} [{setting.variable}{default_text}]",
    )


def _metavar(type: Any) -> str:
    if get_origin(type) is Literal:
        return "|".join(get_args(type))
    names = {int: "NUMBER", float: "NUMBER", tuple[str, ...]: "A,B,..."}
    return next((name for kind, name in names.items() if type in (kind, kind | None)), "TEXT")


serve = click.Command(
    "serve",
    callback=_serve,
    help=_serve.__doc__,
    params=[
        click.Argument(["models"], nargs=-1),
        *(_option(setting) for setting in SETTINGS if setting.name != "models"),
    ],
)
