"""`continuo export`: pack a model into one file."""

import gzip
import json
import shutil
import tarfile
import tempfile
from pathlib import Path

from app.gpt2 import Tokenizer, WouldReplace, find, load, name_of, save, save_legacy, whole_file
from app.training.run.checkpoint import sha256

BESIDE = ("training.json", "card.toml", "report.html", "README.md")  # packed as well


def pack(
    name: str, output: Path | None, format: str, dtype: str | None, root: Path, force: bool = False
) -> Path:
    """Write models/NAME, in `format`, as a .tar.gz with one folder NAME, and its .sha256.

    Times and owners are left out, so the same files give the same archive.
    """
    source = find(name, root / "models")
    archive = _archive(source, output, root, force)
    sums = archive.with_name(archive.name + ".sha256")
    config, weights, tokenizer, _ = load(source)
    archive.parent.mkdir(parents=True, exist_ok=True)
    title = source.name if source.is_dir() else source.stem
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        folder = Path(scratch) / title
        save(folder, config, weights, tokenizer, "bin" if format == "bin" else "safetensors", dtype)
        if format == "legacy-bin":
            (folder / "model.safetensors").unlink()
            save_legacy(folder / "gpt2-pytorch_model.bin", weights, dtype)
        _keep_pad(source, folder, tokenizer)
        for file in BESIDE:
            if source.is_dir() and (source / file).is_file():
                shutil.copyfile(source / file, folder / file)
        with whole_file(archive) as partial:
            _write(folder, partial)
    line = f"{sha256(archive)}  {archive.name}\n"
    with whole_file(sums) as partial:
        partial.write_text(line, encoding="utf-8")
    return archive


def _keep_pad(source: Path, folder: Path, tokenizer: Tokenizer) -> None:
    """Keep the padding token: our Config does not, but other trainers ask for it."""
    config = source / "tokenizer_config.json"
    pad = (
        json.loads(config.read_text(encoding="utf-8")).get("pad_token")
        if config.is_file()
        else None
    )
    if not isinstance(pad, str) or pad not in tokenizer.specials:
        return
    facts = {"tokenizer_config.json": {"pad_token": pad}}
    facts["config.json"] = {"pad_token_id": tokenizer.specials[pad]}
    for name, more in facts.items():
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(content | more, indent=2) + "\n", encoding="utf-8")


def _archive(source: Path, output: Path | None, root: Path, force: bool) -> Path:
    """Where the archive goes: `output`, or inside it if it is a folder; by default exports/."""
    folder = root / "exports" if output is None else output
    archive = folder
    if output is None or output.is_dir():
        archive = folder / f"{name_of(source)}.tar.gz"
    for file in (archive, archive.with_name(archive.name + ".sha256")):
        if file.exists() and not force:
            raise WouldReplace(f"{file} exists; name another --output, or use --force.")
    return archive


def _write(folder: Path, partial: Path) -> None:
    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
        return info

    with (
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for file in (folder, *sorted(folder.iterdir())):
            tar.add(file, f"{folder.name}/{file.name}" if file != folder else folder.name,
                    recursive=False, filter=plain)  # fmt: skip
