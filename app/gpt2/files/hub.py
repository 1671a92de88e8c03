"""Fetch a published model from the Hugging Face hub into models/.

Files are fetched into a hidden folder, where the same command resumes an interrupted download. Once
complete, and if it opens, the folder gets its name. huggingface_hub reads HF_ENDPOINT (a mirror)
and HF_TOKEN. Its own downloads start an interrupted file again from the beginning, so it is asked
only for the list of files and for each file's missing bytes.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from app.gpt2.files.checkpoint import WEIGHTS_BY_RANK, CheckpointError, load
from app.gpt2.files.shelf import SIZES
from app.gpt2.tokenizer import FILES as TOKENIZER_FILES

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

PUBLISHED = {  # what people call them -> their id on the hub
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}
HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")


class DownloadError(ValueError):
    """Why a model cannot be downloaded, in one sentence."""


class Published(NamedTuple):
    """A model on the hub, at one commit."""

    id: str
    commit: str
    files: "dict[str, RepoSibling]"  # by name, with sizes and checksums


def download(name: str, models: Path, revision: str | None = None) -> Path:
    """Download a model (gpt2, 355M, owner/name); returns its folder in `models`."""
    hub_id = PUBLISHED.get(SIZES.get(name, name), name)
    if not HUB_ID.fullmatch(hub_id):
        known = ", ".join([*PUBLISHED, *SIZES])
        raise DownloadError(
            f"{name!r} is not a published model; give owner/name, or one of {known}."
        )
    target = models / hub_id.split("/")[1]
    if target.exists():
        raise DownloadError(f"{target} is there already; remove or rename it to download it again.")
    with _sentences(hub_id, revision):
        model = _published(hub_id, revision)
        names = _wanted(model)
        aside = models / f".{target.name}-{model.commit[:12]}.download"
        with _alone_in(aside):
            _fetch_all(model, names, aside)
            _check_opens(hub_id, aside)
            aside.rename(target)
    for other in models.glob(f".{target.name}-{'[0-9a-f]' * 12}.download"):  # of other revisions
        with contextlib.suppress(DownloadError), _alone_in(other):  # one that is filled stays
            shutil.rmtree(other)
    return target


def _published(hub_id: str, revision: str | None) -> Published:
    """The commit that `revision` means, and its files."""
    from huggingface_hub import HfApi, constants

    try:
        model = HfApi().model_info(hub_id, revision=revision, files_metadata=True)
    except (KeyError, TypeError, json.JSONDecodeError):
        model = None
    if model is None or model.sha is None or model.siblings is None:
        raise DownloadError(f"{constants.ENDPOINT} does not answer like a hub.")
    return Published(model.id, model.sha, {file.rfilename: file for file in model.siblings})


# ---- which files ----


def _wanted(model: Published) -> list[str]:
    """The names of the config, the vocabulary and, last, the weights or their index."""
    weights = next((name for name in WEIGHTS_BY_RANK if name in model.files), None)
    if weights is None:
        some = ", ".join(list(model.files)[:4]) or "nothing"
        raise DownloadError(f"{model.id} has no weights that can be opened here (it has {some}).")
    beside = [name for name in ("config.json", *TOKENIZER_FILES) if name in model.files]
    return [*beside, weights]


def _fetch_all(model: Published, names: list[str], aside: Path) -> None:
    for name in names:
        _fetch(model, model.files[name], aside)
    weights = names[-1]
    if weights.endswith(".index.json"):
        for shard in _shards(model.id, aside / weights):
            if shard not in model.files or Path(shard).name != shard:
                raise DownloadError(f"{model.id} lacks {shard}, which its {weights} names.")
            _fetch(model, model.files[shard], aside)


def _shards(hub_id: str, index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DownloadError(f"The {index.name} of {hub_id} names no shards.") from None


# ---- one file ----


def _fetch(model: Published, file: "RepoSibling", aside: Path) -> None:
    """Fetch the missing bytes of `file`, with a progress bar; then check the whole file."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    whole, part = aside / file.rfilename, aside / f"{file.rfilename}.part"
    if whole.exists():
        return
    url = hf_hub_url(model.id, file.rfilename, revision=model.commit, endpoint=constants.ENDPOINT)
    # Uncompressed, so that sizes are those of the file.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    with part.open("ab") as out:
        if file.size is not None and out.tell() > file.size:
            out.truncate(0)  # it is damaged: a server once sent too much
        have = out.seek(0, os.SEEK_END)
        _check_space(file, have, aside)
        http_get(
            url,
            out,
            resume_size=have,
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.rfilename,
        )
        out.flush()
        os.fsync(out.fileno())
    _check_hash(file, part)
    part.rename(whole)


def _check_space(file: "RepoSibling", have: int, aside: Path) -> None:
    needed, free = (file.size or 0) - have, shutil.disk_usage(aside).free
    if needed > free:
        raise DownloadError(
            f"The disk is too full: {file.rfilename} needs {needed / 1e6:,.0f} MB more in "
            f"{aside.parent}, where {free / 1e6:,.0f} MB are free."
        )


def _check_hash(file: "RepoSibling", part: Path) -> None:
    """Large files are published with their SHA-256."""
    if file.lfs is None:
        return
    with part.open("rb") as bytes_:
        if hashlib.file_digest(bytes_, "sha256").hexdigest() == file.lfs.sha256:
            return
    part.unlink()
    raise DownloadError(f"{file.rfilename} arrived damaged and was removed; repeat the command.")


# ---- the folder aside ----


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other downloads out until this one, or its process, ends."""
    folder.mkdir(parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadError(f"Another download is filling {folder}; wait for it.") from None
        yield
    finally:
        os.close(opened)


def _check_opens(hub_id: str, aside: Path) -> None:
    try:
        for _ in load(aside).weights.values():
            pass
    except CheckpointError as error:
        shutil.rmtree(aside)
        why = str(error).replace(str(aside), hub_id)
        raise DownloadError(f"{hub_id} was downloaded, but does not open: {why}") from None


# ---- what goes wrong, in sentences ----

AGAIN = "the same command resumes"


@contextlib.contextmanager
def _sentences(hub_id: str, revision: str | None) -> Iterator[None]:
    import httpx2
    from huggingface_hub import constants, errors

    hub = constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError:
        raise DownloadError(
            f"{hub_id} is gated: accept its terms at {hub}/{hub_id}, then set HF_TOKEN."
        ) from None
    except errors.HFValidationError:
        raise DownloadError(f"{hub_id} cannot be the name of a model.") from None
    except errors.RevisionNotFoundError:
        raise DownloadError(f"{hub_id} has no revision {revision!r}.") from None
    except errors.RepositoryNotFoundError:
        raise DownloadError(
            f"{hub} has no model {hub_id}, or shows it only to those who set a HF_TOKEN."
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        hint = "; does HF_TOKEN hold a token of yours?" if status in (401, 403) else "."
        raise DownloadError(f"{hub} answered {status} when asked for {hub_id}{hint}") from None
    except errors.OfflineModeIsEnabled:
        raise DownloadError("HF_HUB_OFFLINE is set, so nothing can be downloaded.") from None
    except httpx2.HTTPError as error:
        raise DownloadError(f"{hub} cannot be reached ({error}); {AGAIN}.") from None
    except OSError as error:
        why = "The disk is full" if error.errno == errno.ENOSPC else str(error).split(".\n")[0]
        raise DownloadError(f"{why}; {AGAIN}.") from None
