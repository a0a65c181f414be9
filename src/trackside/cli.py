"""The command line. The only place that reads the environment of the process."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import trackside
from trackside.models.flags import count, repository

if TYPE_CHECKING:
    from trackside.app import Context

Command = Callable[["Context", argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code (see docs/exit-codes.md)."""
    arguments = parser().parse_args(argv)
    if arguments.command is None:
        parser().print_help()
        return 2
    from trackside.app import Context
    from trackside.errors import ConfigError, TracksideError
    from trackside.system.text import inert

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an arrow is not worth a crash where the terminal knows none
    context = Context(env=dict(os.environ), json=bool(getattr(arguments, "json", False)))
    if arguments.command in ("drift", "stage"):
        _sort_fast()
    try:
        command: Command = arguments.handler
        return command(context, arguments)
    except TracksideError as error:
        print(inert(error.render()), file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        extra = {"sandbox": "sandbox", "demo": "sandbox", "drift": "drift"}.get(arguments.command, "train")
        lacks = ConfigError(
            f"`trackside {arguments.command}` needs the package {error.name}, which is not installed",
            remedy=f"in a clone of Trackside: pip install '.[{extra}]'",
            reason_code="tool_missing",
        )
        print(inert(lacks.render()), file=sys.stderr)
        return lacks.exit_code
    except BrokenPipeError:
        return 0
    except Exception:
        print(inert(traceback.format_exc()), file=sys.stderr)
        print("this is a defect in Trackside: please report it with the lines above", file=sys.stderr)
        return TracksideError.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _sort_fast() -> None:
    """Keep NumPy, which is not imported yet, off what this processor is slow at."""
    from trackside.system.processor import VARIABLE, avoided

    info = Path("/proc/cpuinfo")
    if VARIABLE not in os.environ and info.is_file() and (found := avoided(info.read_text(errors="replace"))):
        os.environ[VARIABLE] = found


def parser() -> argparse.ArgumentParser:
    """All commands and their flags."""
    top = argparse.ArgumentParser(
        prog="trackside", description="CI-native GitOps for machine learning, on GitHub Actions and DVC."
    )
    top.add_argument("--version", action="version", version=f"trackside {trackside.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    _local(commands)
    _runs(commands)
    _models(commands)
    _lineage(commands)
    _reproduce(commands)
    _drift(commands)
    _sandbox(commands)
    stage = _add(commands, "stage", "what the actions call inside a workflow", _stage)
    stage.add_argument(
        "name", choices=("plan", "train", "report", "register", "image", "drift", "retrain", "command", "promote")
    )
    stage.add_argument("--json", action="store_true", help="print the result document")
    return top


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str, run: Command
) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    made.set_defaults(handler=run)
    return made


def _local(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    init = _add(commands, "init", "find the pipeline, write a first trackside.yaml and the workflow files", _init)
    init.add_argument("--command", dest="training", default="", help="without DVC: the training command")
    init.add_argument(
        "--output", action="append", default=[], metavar="PATH", help="the model file, where it is not found by itself"
    )
    init.add_argument("--metrics", action="append", default=[], metavar="PATH", help="metrics file of --command")
    init.add_argument("--input", action="append", default=[], metavar="PATH", help="code or data of --command")
    init.add_argument("--dry-run", action="store_true", help="write nothing, show the differences")
    init.add_argument("--force", action="store_true", help="replace workflow files that differ")
    init.add_argument("--json", action="store_true", help="machine-readable output")
    doctor = _add(commands, "doctor", "look for what is set up wrong, here and on GitHub", _doctor)
    doctor.add_argument(
        "--repository", type=repository, metavar="OWNER/NAME", help="default: the clone's origin; needs a token"
    )
    doctor.add_argument("--offline", action="store_true", help="local checks only")
    doctor.add_argument("--json", action="store_true", help="machine-readable output")
    schema = _add(commands, "schema", "print the JSON Schema of trackside.yaml or of a document", _schema)
    schema.add_argument(
        "kind",
        nargs="?",
        default="config",
        choices=(
            "config",
            "run",
            "plan",
            "report",
            "result",
            "admission",
            "release",
            "image",
            "verdict",
            "proposal",
            "drift-profile",
            "lineage",
            "reproduction",
            "restoration",
        ),
    )
    check = _add(commands, "check", "check trackside.yaml and say where it is wrong", _check)
    check.add_argument("file", nargs="?", default="trackside.yaml", type=Path)
    train = _add(commands, "train", "reproduce a model's pipeline here and record the run", _train)
    train.add_argument("model", nargs="?", help="default: the only model of trackside.yaml")
    train.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="override a parameter: an experiment",
    )
    train.add_argument("--out", type=Path, help="file for the run document")
    train.add_argument("--json", action="store_true", help="print the run document")
    report = _add(commands, "report", "compare two commits or two run documents", _report)
    report.add_argument("baseline", nargs="?", default="HEAD", help="commit, branch, run id or run document")
    report.add_argument("current", nargs="?", default="", help="the same; default: the work tree")
    report.add_argument("--model", help="default: the only model of trackside.yaml")
    report.add_argument("--format", choices=("md", "json", "html"), default="md")
    report.add_argument("--out", type=Path, help="file to write; default: standard output")
    report.add_argument("--fail", action="store_true", help="exit with 1 when the gate fails")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def _runs(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    runs = commands.add_parser("runs", help="list, show, compare and export recorded runs")
    actions = runs.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = _add(actions, "list", "recorded runs, newest first", _runs_list)
    listed.add_argument("model", nargs="?")
    listed.add_argument("-n", "--limit", type=count, default=20, help="at most so many; default: 20")
    shown = _add(actions, "show", "one run: what exactly made this model", _runs_show)
    shown.add_argument("run", help="run id (a beginning is enough) or file")
    compared = _add(actions, "compare", "two runs side by side", _runs_compare)
    compared.add_argument("baseline")
    compared.add_argument("current")
    exported = _add(actions, "export", "a run as in-toto statement with SLSA provenance", _runs_export)
    exported.add_argument("run")
    for one in (listed, shown, compared):
        one.add_argument("--json", action="store_true", help="machine-readable output")
    for one in (listed, shown, compared, exported):
        one.add_argument("--repo", type=Path, default=Path(), help="clone to read the data branch from")


def _models(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from trackside.models.command import add_commands

    add_commands(commands.add_parser("models", help="versions, stages and files of the registry's models"), _add)


def _lineage(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from trackside.lineage.command import add_commands

    add_commands(commands, _add)


def _reproduce(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from trackside.reproduce.command import add_commands

    add_commands(commands, _add)


def _drift(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from trackside.drift.command import add_commands

    add_commands(commands.add_parser("drift", help="compare production data with what a model learnt from"), _add)


def _sandbox(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sandbox = _add(commands, "sandbox", "a GitHub on this machine that runs workflows", _sandbox_run)
    sandbox.add_argument("--root", type=Path, default=Path("build/sandbox"), help="folder for its state")
    sandbox.add_argument("--port", type=_port, default=8765, help="default: 8765; 0 takes a free one")
    sandbox.add_argument(
        "--import", dest="source", type=Path, metavar="CLONE", help="start with the files of this clone"
    )
    sandbox.add_argument(
        "--repo", type=repository, default="acme/project", metavar="OWNER/NAME", help="name of the repository"
    )
    demo = _add(commands, "demo", "the whole story on a sandbox, from init to rollback; every step is verified", _demo)
    demo.add_argument("--out", type=Path, default=Path("build/demo"), help="folder for evidence, pages and state")
    demo.add_argument("--cache", type=Path, default=Path("build/demo-cache"), help="environments kept between runs")
    demo.add_argument("--serve", action="store_true", help="keep the sandbox up to look around")
    demo.add_argument("--port", type=_port, default=0, help="default: a free one")


def _stage(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.app import run_stage

    return run_stage(context, arguments.name)


def _init(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.adopt.init import Wish, init

    wish = Wish(
        command=arguments.training,
        outputs=tuple(arguments.output),
        metrics=tuple(arguments.metrics),
        inputs=tuple(arguments.input),
        dry_run=arguments.dry_run,
        force=arguments.force,
    )
    return init(context, Path(), wish)


def _doctor(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.doctor.examine import doctor

    return doctor(context, Path(), repository=arguments.repository or "", offline=arguments.offline)


def _schema(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.local import schema

    return schema(context, arguments.kind)


def _check(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.local import check

    return check(context, arguments.file)


def _train(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.local import train

    return train(context, Path(), arguments.model, arguments.set_param, out=arguments.out)


def _report(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.local import report

    return report(
        context,
        Path(),
        arguments.baseline,
        arguments.current,
        model=arguments.model,
        form=arguments.format,
        out=arguments.out,
        fail=arguments.fail,
    )


def _runs_list(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.runs import list_runs

    return list_runs(context, arguments.repo, arguments.model, arguments.limit)


def _runs_show(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.runs import show

    return show(context, arguments.repo, arguments.run)


def _runs_compare(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.runs import compare

    return compare(context, arguments.repo, arguments.baseline, arguments.current)


def _runs_export(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.runs import export

    return export(context, arguments.repo, arguments.run)


def _sandbox_run(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.demo.serve import serve

    return serve(
        context.env, context.say, root=arguments.root, port=arguments.port, source=arguments.source, repo=arguments.repo
    )


def _demo(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.demo.run import run_demo

    return run_demo(
        arguments.out.resolve(),
        context.env,
        context.say,
        cache=arguments.cache.resolve(),
        serve=arguments.serve,
        port=arguments.port,
    )
