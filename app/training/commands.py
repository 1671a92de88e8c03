"""The commands of this room: words on a line -> one call. Imports the room when one is called."""

from pathlib import Path

import click


@click.command()
@click.argument("texts", nargs=-1, required=True)
@click.option("--name", required=True, help="The model lands in models/NAME, its state in runs/.")
@click.option("--exclude", multiple=True, help="Files to leave out, as a glob; may be repeated.")
@click.option("--split", default="70-20-10", show_default=True, help="Train-validate-test.")
@click.option("--prose", is_flag=True, help="Leave out titles and chapter heads.")
@click.option("--new-vocabulary", type=int, help="Train a vocabulary of so many tokens.")
@click.option("--size", help="Begin from nothing in this shape: tiny, small, gpt2, ...")
@click.option("--window", type=int, default=1024, show_default=True)
@click.option("--block", type=int)
@click.option("--batch", type=int, default=8, show_default=True)
@click.option("--long-every", type=int, default=0)
@click.option("--steps", type=int)
@click.option("--optimizer", default="adamw")
@click.option("--learning-rate", type=float)
@click.option("--schedule", default="cosine")
@click.option("--decay", type=float, default=0.25)
@click.option("--weight-decay", type=float, default=0.1)
@click.option("--evaluate-every", type=int)
@click.option("--save-every", type=int)
@click.option("--threads", type=int)
@click.option("--seed", type=int, default=1)
def train(texts, name, exclude, split, prose, new_vocabulary, size, **told):
    """Train a model on TEXTS: files and folders."""
    from app.training.config import SIZES, TrainConfig
    from app.training.corpus import Rules, prepare
    from app.training.network import new_model
    from app.training.sources import find
    from app.training.train import Run
    from app.training.train import train as run_training

    if size is None:
        raise click.UsageError("Say --size: one of " + ", ".join(SIZES) + ".")
    layers, width, heads = SIZES[size]
    config = TrainConfig(layers=layers, width=width, heads=heads, **told)
    shares = tuple(float(share) for share in split.split("-"))
    rules = Rules(shares=shares, prose=prose, new_vocabulary=new_vocabulary)
    corpus = prepare(
        find(texts, exclude, Path("runs/.tokens/fetched")),
        None,
        rules,
        Path("runs/.tokens"),
        click.echo,
    )
    model = new_model(config, corpus.tokenizer.n_tokens, corpus.tokenizer.specials["<|endoftext|>"])
    run_training(Run(config, corpus, Path("runs", name), Path("models", name), click.echo), model)


COMMANDS = (train,)
