"""The table of commands: names, one-line helps and examples. What they do is imported when they run."""

from __future__ import annotations

from cyclopts import App, Parameter

from bitspike._version import __version__

_EXAMPLES = """\
Examples:
  bitspike demo                                        train, quantize and compare on digits, about a minute
  bitspike train qsnn-mnist-1w2u                       train a published recipe
  bitspike evaluate runs/qsnn-mnist-1w2u/model.safetensors --data mnist
  bitspike measure resnet19 --spec 1w2u                memory and operations, no data needed
  bitspike doctor                                      what is installed, what is missing

Every command but completion takes --json: exactly one object on standard output.
Exit codes: 0 done, 1 a check failed or the machine said no, 2 the command line or an input is wrong,
130 stopped by Ctrl-C. BITSPIKE_DEBUG=1 shows tracebacks, BITSPIKE_DATA is the folder of data sets."""

_COMMANDS = (
    (
        "demo",
        "Train a float and a 1-bit network on digits, and compare them.",
        """\
Examples:
  bitspike demo
  bitspike demo --epochs 5 --out runs/short-demo
  bitspike demo --json --quiet""",
    ),
    (
        "train",
        "Train what a recipe describes; a stopped run goes on by itself.",
        """\
Examples:
  bitspike train --list
  bitspike train qsnn-mnist-1w2u
  bitspike train qsnn-mnist-1w2u --epochs 3 --seed 1 --out runs/try
  bitspike train qsnn-cifar10-resnet19-1w2u --set quant=2w4u --set train.batch=128 --device cuda
  bitspike train mine.toml --fresh""",
    ),
    (
        "evaluate",
        "Accuracy of a trained network on a data set, as integers.",
        """\
Examples:
  bitspike evaluate runs/demo/qsnn-digits-1w2u/model.safetensors --data digits
  bitspike evaluate model.safetensors --data mnist --limit 1000 --json
  bitspike evaluate model.safetensors --data nmnist-subset --order steps
  bitspike evaluate model.bsp --data mnist""",
    ),
    (
        "prune",
        "Remove the least important channels of a trained network.",
        """\
Examples:
  bitspike prune runs/qsnn-mnist-1w2u --ratio 0.5
  bitspike prune model.safetensors --ratio "stage2.*=0.5" --ratio "stage3.*.first=0.75" --out small.safetensors
  bitspike prune model.safetensors --parameters 25% --criterion svs --protect first
  bitspike prune model.safetensors --memory 400kB --json""",
    ),
    (
        "quantize",
        "Quantize a trained float network without training it.",
        """\
Examples:
  bitspike quantize runs/fashion-float 4w4u
  bitspike quantize model.safetensors 2w4u --set membrane.range=mse --set weight.scale=mse --out small.safetensors
  bitspike quantize imported.safetensors 8w8u --data mnist --samples 1024 --json""",
    ),
    (
        "significance",
        "How many bits each group of parameters and each layer needs.",
        """\
Examples:
  bitspike significance runs/fashion-float
  bitspike significance model.safetensors --data mnist --workers 2 --out runs/significance""",
    ),
    (
        "explore",
        "Try many ways to make a trained network smaller.",
        """\
Examples:
  bitspike explore runs/fashion-float
  bitspike explore model.safetensors --try weight.bits=2,3,4 --try membrane.bits=2,4 --try ends.bits=3,4,8
  bitspike explore model.safetensors --space space.toml --sampler nsga2 --trials 200 --workers 2
  bitspike explore model.safetensors --base 8w4u --try scheme=itq --try weight.bits=1,2 --train epochs=3
  bitspike explore --resume runs/explore-fashion-float
  bitspike explore --dashboard runs/explore-fashion-float""",
    ),
    (
        "pick",
        "Take one candidate of an exploration: test, certify, save it.",
        """\
Examples:
  bitspike pick runs/explore-fashion-float --within 1% --smallest
  bitspike pick runs/explore-fashion-float --reward additive --mu 0.1 --dry-run
  bitspike pick runs/explore-fashion-float --number 12 --seeds 3 --out small.safetensors""",
    ),
    (
        "lower",
        "Write the integer network of a trained network, as one small file.",
        """\
Examples:
  bitspike lower runs/qsnn-mnist-1w2u
  bitspike lower model.safetensors --out small.bsp
  bitspike lower model.safetensors --json""",
    ),
    (
        "certify",
        "Prove on samples that reference, engine and exported C are equal.",
        """\
Examples:
  bitspike certify model.bsp
  bitspike certify model.bsp --data mnist --samples 1000 --json
  bitspike certify runs/qsnn-mnist-1w2u --out mnist.bsp
  bitspike certify model.bsp --no-c                    without a C compiler""",
    ),
    (
        "measure",
        "Memory, operations, energy and activity of a network.",
        """\
Examples:
  bitspike measure resnet19 --spec 1w2u
  bitspike measure vgg16 --spec 1w2u --set classes=200 --set input_shape=[3,64,64] --batch 16
  bitspike measure model.safetensors --data mnist --samples 512
  bitspike measure before.safetensors --compare after.safetensors --data cifar10""",
    ),
    (
        "models",
        "List the networks that can be made by name.",
        """\
Examples:
  bitspike models
  bitspike models "res*" --json""",
    ),
    (
        "doctor",
        "What is installed, what is missing, and whether the core works.",
        """\
Examples:
  bitspike doctor
  bitspike doctor --json""",
    ),
    (
        "completion",
        "Print a script that completes bitspike's commands in a shell.",
        """\
Examples:
  bitspike completion bash > ~/.local/share/bash-completion/completions/bitspike
  bitspike completion zsh > ~/.zfunc/_bitspike          (in zsh: fpath+=~/.zfunc; compinit)
  bitspike completion fish > ~/.config/fish/completions/bitspike.fish
  bitspike --install-completion                         does it for the present shell""",
    ),
)

_EXPORT = "Write a finished network as C99 for microcontrollers, or as NIR for other tools."
_IMPORT = "Bring a network trained elsewhere here: NIR, snnTorch, SpikingJelly."
_IMPORT_EXAMPLES = """\
Examples:
  bitspike import net.nir --time-steps 25 --out net.safetensors
  bitspike import net.nir --time-steps 25 --reset delayed --quant 8w8u
  bitspike import train.py:trained --time-steps 25 --input-shape 1,28,28 --mean 0.1307 --std 0.3081 --data mnist
  bitspike import my.models:gesture --time-steps 20 --input-shape 2,128,128 --bound 255"""


def build_app() -> App:
    """The application, without any command's module imported."""
    app = App(
        name="bitspike",
        help="Spiking neural networks from research to integers on real hardware.",
        help_epilogue=_EXAMPLES,
        help_format="plaintext",
        version=f"bitspike {__version__}",
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
    )
    for name, summary, examples in _COMMANDS:
        app.command(f"bitspike.cli.{name}:{name}", name=name, help=summary, help_epilogue=examples)
    app.command("bitspike.cli.importing:import_network", name="import", help=_IMPORT, help_epilogue=_IMPORT_EXAMPLES)
    app.command("bitspike.cli.export:app", name="export", help=_EXPORT)
    app.command("bitspike.cli.data:app", name="data", help="List data sets and where they lie; fetch and verify them.")
    app.register_install_completion_command(help="Install completion for the present shell.")
    return app
