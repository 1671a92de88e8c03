"""`continuo export`: a model as one file to carry away."""

import gzip
import shutil
import tarfile
import tempfile
from pathlib import Path

from app.gpt2 import find, load, save, save_legacy, whole_file
from app.training.run.checkpoint import sha256

BESIDE = ("training.json", "report.html", "README.md")  # told along where they are


def pack(name: str, archive: Path, format: str, dtype: str | None, root: Path) -> Path:
    """models/NAME, in `format`, as a .tar.gz whose top folder is NAME, and its .sha256.

    No times or owners are kept, so the same files give the same archive.
    """
    source = find(name, root / "models")
    config, weights, tokenizer, _ = load(source)
    archive.parent.mkdir(parents=True, exist_ok=True)
    title = source.name if source.is_dir() else source.stem
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        folder = Path(scratch) / title
        save(folder, config, weights, tokenizer, "bin" if format == "bin" else "safetensors", dtype)
        if format == "legacy-bin":
            (folder / "model.safetensors").unlink()
            save_legacy(folder / "gpt2-pytorch_model.bin", weights, dtype)
        for file in BESIDE:
            if source.is_dir() and (source / file).is_file():
                shutil.copyfile(source / file, folder / file)
        with whole_file(archive) as partial:
            _write(folder, partial)
    line = f"{sha256(archive)}  {archive.name}\n"
    archive.with_name(archive.name + ".sha256").write_text(line, encoding="utf-8")
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
