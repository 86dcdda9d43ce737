"""argparse: groups, subparsers, helper functions and modules; the command is accepted."""

from __future__ import annotations

from tests.preflight.arguments.families.conftest import Init

SUBPARSERS = """
import argparse
import options
from options import str2bool

def main():
    parser = argparse.ArgumentParser(parents=[])
    sub = parser.add_subparsers(dest="command")
    parser.add_argument("--seed", type=int, default=9)
    train = sub.add_parser("train")
    test = sub.add_parser("test")
    for one in (train, test):
        one.add_argument("--data", default="d")
    options.add_model(train)
    group = train.add_argument_group("training")
    group.add_argument("--lr", type=float, default=1e-3)
    group.add_argument("--amp", type=str2bool, default=False)
    group.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    group.add_argument("--sizes", nargs="+", type=int, required=True)
    group.add_argument("--decay", default=2 * 1e-2)
    train.add_argument("--out-dir", default="out")
    test.add_argument("--checkpoint", required=True)
    print(vars(parser.parse_args()))

if __name__ == "__main__":
    main()
"""
SUBPARSERS_FILES = {
    "options.py": """\
import argparse
WIDTH = 8 * 16
KINDS = {"mlp": 1, "cnn": 2}
def str2bool(text): return text == "True"
def add_model(parser):
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--kind", choices=KINDS.keys(), default="mlp")
def unused(parser):
    parser.add_argument("--unused", default=1)
if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--tool", default=3)
"""
}

MODULE = """
from lib.opts import get_args
from lib import tools
args = get_args()
print(vars(args))
"""
MODULE_FILES = {
    "lib/__init__.py": """\
""",
    "lib/opts.py": """\
import argparse
class Options:
    def __init__(self):
        self.parser = argparse.ArgumentParser()
        self.parser.add_argument("--lr", type=float, default=0.1)
    def extra(self):
        self.parser.add_argument("--width", type=int, default=8)
        return self
    def parse(self):
        return self.parser.parse_args()
def get_args():
    return Options().extra().parse()
""",
    "lib/tools.py": """\
import argparse
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--convert", default=1)
if __name__ == "__main__":
    main()
""",
}


def test_subparsers_and_helpers(init: Init) -> None:
    written = init(SUBPARSERS, "sizes=[1,2]", files=SUBPARSERS_FILES)
    assert written.command == [
        "--seed=${trial:seed}",
        "train",
        "${args_no_boolean_flags}",
        "--sizes",
        "1",
        "2",
        "--out-dir=${trial:dir}/out",
    ]
    expected = """\
  data: {value: d}
  width: {value: 128}
  kind: {value: mlp}  # to vary it: {values: [mlp, cnn]}
  lr: {value: 1e-3}  # to vary it: {values: [3e-4, 1e-3, 3e-3]}
  amp: {value: "False"}  # to vary it: {values: ["False", "True"]}
  # turns compile off, which is on by default
  no-compile: {value: false}  # to vary it: {values: [false, true]}
  decay: {value: 0.02}  # to vary it: {values: [7e-3, 0.02, 0.06]}"""
    assert written.parameters == expected
    assert "'sizes': [1, 2]" in written.run("argparse")


def test_a_class_in_another_module(init: Init) -> None:
    written = init(MODULE, files=MODULE_FILES)
    assert written.command == ["${args}"]
    expected = """\
  width: {value: 8}
  lr: {value: 0.1}  # to vary it: {values: [0.03, 0.1, 0.3]}"""
    assert written.parameters == expected
    assert written.run("argparse") == written.run_by_hand()


def test_parents_loops_enumerations_and_inherited_defaults(init: Init) -> None:
    written = init("""
import argparse
from enum import Enum
class Kind(Enum):
    MLP = "mlp"
    CNN = "cnn"
common = argparse.ArgumentParser(add_help=False)
common.add_argument("--lr", type=float, default=1)
parser = argparse.ArgumentParser()
subparsers = parser.add_subparsers()
fit = subparsers.add_parser("fit", parents=[common])
test = subparsers.add_parser("test", parents=[common])
deep = fit.add_subparsers()
fit.add_argument("--kind", choices=Kind, default=Kind.CNN)
fit.add_argument("--steps", type=int, default=None)
fit.set_defaults(steps=10)
""")
    assert written.command == ["fit", "${args}"]
    expected = """\
  lr: {value: 1.0}  # to vary it: {values: [0.3, 1.0, 3.0]}
  kind: {value: CNN}  # to vary it: {values: [MLP, CNN]}
  steps: {value: 10}"""
    assert written.parameters == expected


def test_functions_that_call_each_other_end(init: Init) -> None:
    written = init("""
import argparse
def one(p):
    p.add_argument("--a", default=1)
    two(p)
def two(p):
    one(p)
one(argparse.ArgumentParser())
""")
    assert written.parameters == "  a: {value: 1}"
