"""click: options, switches with a counterpart, shared decorators, groups; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

GROUP = """
import json
import click


def shared(function):
    for option in (
        click.option("--seed", default=1, help="random seed"),
        click.option("--work-dir", default="work", type=click.Path()),
    ):
        function = option(function)
    return function


@click.group()
@click.option("--verbose", is_flag=True)
def cli(verbose):
    pass


@cli.command()
@click.argument("data")
@click.option("--lr", "-l", "learning_rate", default=1e-3, show_default=True, help="learning rate")
@click.option("--batch_size", default=32)
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam")
@click.option("--shuffle/--no-shuffle", default=True)
@click.option("--amp", is_flag=True)
@click.option("--layers", multiple=True, type=int, default=[1, 2])
@click.option("-x", type=int, default=3)
@click.option("--epochs", type=int, required=True)
@click.option("--dropout", type=float)
@shared
def train(**given):
    print(json.dumps(given, sort_keys=True))


@cli.command()
@click.argument("checkpoint")
def evaluate(checkpoint):
    pass


if __name__ == "__main__":
    cli()
"""

SINGLE = """
import click
@click.command()
@click.option("--lr", default=0.1)
@click.option("--save-path", default="model.pt")
def main(lr, save_path): print(lr, save_path)
main()
"""


def test_a_command_in_a_group(init: Init) -> None:
    written = init(GROUP, "data=d", "epochs=2")
    assert written.command == [
        "train",
        "d",
        "${args_no_boolean_flags}",
        "--seed=${trial:seed}",
        "--work-dir=${trial:dir}/work",
    ]
    expected = """\
  # learning rate
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  batch_size: {value: 32}
  optimizer: {value: adam}  # to vary it: {values: [adam, sgd]}
  # turns shuffle off, which is on by default
  no-shuffle: {value: false}  # to vary it: {values: [false, true]}
  amp: {value: false}  # to vary it: {values: [false, true]}
  epochs: {value: 2}
  # Not in this file, so the script uses its own value:
  #   verbose stands before the subcommand: write it in command
  #   layers takes several values: write them in command
  #   x has only the short form -x: write it in command
  #   dropout has no default"""
    assert written.parameters == expected
    assert written.to_do[0] == "check the subcommand in command: train was chosen, and the script also has evaluate"
    assert '"learning_rate": 0.001' in written.run("click")


def test_a_single_command_has_no_subcommand_and_a_file_keeps_its_ending(init: Init) -> None:
    written = init(SINGLE)
    assert written.command == ["${args}", "--save-path=${trial:dir}/model.pt"]
    expected = """\
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}"""
    assert written.parameters == expected
    assert written.run("click").startswith("0.1 ")


def test_options_that_need_a_value_of_their_own_kind(init: Init) -> None:
    written = init(
        """
import click
KINDS = {"mlp": 1, "cnn": 2}
width = click.option("--width", type=float, default=8)
@click.command("go")
@click.option("--hot/--cold", "switch", default=False)
@click.option("--debug/--no-debug", required=True)
@click.option("--kind", type=click.Choice(list(KINDS)), default="mlp")
@click.option("--tag", multiple=True)
@click.option("-v", count=True)
@click.option("--token", prompt=True)
@click.option("--home", default=lambda: 1)
@width
def main(**given):
    print(given["tag"], given["switch"], given["kind"], given["debug"])
main()
""",
        "tag=[a, b]",
        "token=t",
    )
    assert written.command == ["${args_no_boolean_flags}", "--tag=a", "--tag=b"]
    expected = """\
  hot: {value: false}  # to vary it: {values: [false, true]}
  # turns debug off, which is on by default
  no-debug: {value: false}  # to vary it: {values: [false, true]}
  kind: {value: mlp}  # to vary it: {values: [mlp, cnn]}
  token: {value: t}
  width: {value: 8.0}  # to vary it: {values: [3.0, 8.0, 20.0]}
  # Not in this file, so the script uses its own value:
  #   v counts how often it is given: write it in command
  #   home its default is computed when the script runs"""
    assert written.parameters == expected
