"""Workflow commands, read back by the rules that the runner reads them by."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.app import LEFT_BY, Context, run_stage
from trackside.documents.codec import load
from trackside.documents.result import Result
from trackside.errors import DataError
from trackside.system.text import clean, inert
from trackside.system.workflow import SUMMARY_LIMIT, WorkflowCommands


def read_outputs(text: str) -> dict[str, str]:
    """The runner's reading of GITHUB_OUTPUT: `name=value` or `name<<delimiter`, lines, delimiter."""
    found: dict[str, str] = {}
    lines = text.split("\n")
    assert lines.pop() == ""
    while lines:
        name, found_heredoc, delimiter = lines.pop(0).partition("<<")
        assert found_heredoc
        end = lines.index(delimiter)
        found[name] = "\n".join(lines[:end])
        lines = lines[end + 1 :]
    return found


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """The runner's reading of a `::command properties::data` line."""
    assert line.startswith("::")
    head, data = line[2:].split("::", 1)
    name, _, properties = head.partition(" ")
    parsed = {}
    for part in filter(None, properties.split(",")):
        key, _, value = part.partition("=")
        parsed[key] = unescape(value.replace("%3A", ":").replace("%2C", ","))
    return name, parsed, unescape(data)


def unescape(text: str) -> str:
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


HOSTILE = [
    "",
    "plain",
    "two\nlines",
    "ends with a newline\n",
    "x\nEOF\nother=1",
    "other<<EOF\nvalue\nEOF",
    "::set-output name=x::y",
    "::error::no",
    "a%0Ab%25c",
    "file=x,line=1:: , :",
    "é😀\ud800\0",
    "crlf\r\nline\rend",
    "-->\n```\n@everyone",
]


def active(folder: Path) -> tuple[WorkflowCommands, io.StringIO, Path, Path]:
    output, summary, stream = folder / "output", folder / "summary", io.StringIO()
    env = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    return WorkflowCommands(env, stream), stream, output, summary


def test_outputs_hold_any_text(tmp_path: Path) -> None:
    commands, stream, output, _ = active(tmp_path)
    values = {f"value-{index}": text for index, text in enumerate(HOSTILE)}
    commands.outputs(values)
    assert read_outputs(output.read_text("utf-8")) == {name: clean(text) for name, text in values.items()}
    assert stream.getvalue() == ""
    commands.outputs({"later": "1"})
    assert read_outputs(output.read_text("utf-8"))["later"] == "1"
    print(f"{len(HOSTILE)} values")
    assert len(HOSTILE) == 13


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True), st.text(), max_size=4))
def test_outputs_round_trip(values: dict[str, str]) -> None:
    with TemporaryDirectory() as folder:
        commands, _, output, _ = active(Path(folder))
        commands.outputs(values)
        if values:
            assert read_outputs(output.read_bytes().decode()) == {name: clean(text) for name, text in values.items()}


def test_names_of_outputs_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    commands, _, output, _ = active(tmp_path)
    for name in ("", "a b", "a\nb=1", "a<<b", "1a", "a=b"):
        with pytest.raises(DataError):
            commands.outputs({"fine": "1", name: "x"})
    assert not output.exists()


def test_every_delimiter_is_new(tmp_path: Path) -> None:
    commands, _, output, _ = active(tmp_path)
    for _ in range(50):
        commands.outputs({"x": "y"})
    delimiters = {line.partition("<<")[2] for line in output.read_text().splitlines() if "<<" in line}
    assert len(delimiters) == 50


@pytest.mark.parametrize("level", ["error", "warning", "notice"])
def test_annotations_are_one_line_each(tmp_path: Path, level: str) -> None:
    commands, stream, _, _ = active(tmp_path)
    for text in HOSTILE:
        stream.seek(0)
        stream.truncate()
        commands.annotate(level, text, title=text, file=text, line=7, column=3)
        assert stream.getvalue().count("\n") == 1
        name, properties, data = read_command(stream.getvalue().rstrip("\n"))
        assert (name, data) == (level, clean(text))
        wanted = {"title": clean(text), "file": clean(text), "line": "7", "col": "3"}
        assert properties == {key: value for key, value in wanted.items() if value}
    commands.annotate(level, "bare")
    assert stream.getvalue().endswith(f"::{level}::bare\n")


def test_summary_appends_up_to_the_limit_of_a_step(tmp_path: Path) -> None:
    commands, _, _, summary = active(tmp_path)
    assert commands.summary("# one")
    assert commands.summary("two\n\n")
    assert summary.read_text() == "# one\ntwo\n"
    assert not commands.summary("```\n" + "é" * 50 + "\n" + "line é\n" * 200_000)
    size = summary.stat().st_size
    assert SUMMARY_LIMIT - 200 < size <= SUMMARY_LIMIT
    assert summary.read_text().count("```") == 2
    assert not commands.summary("more " * 100)
    assert summary.stat().st_size <= SUMMARY_LIMIT


def test_masks_cover_every_line_of_a_secret(tmp_path: Path) -> None:
    commands, stream, _, _ = active(tmp_path)
    commands.mask("-----BEGIN\nAbC%12\n}\n-----END\n")
    masked = [read_command(line) for line in stream.getvalue().splitlines()]
    assert masked == [
        ("add-mask", {}, "-----BEGIN\nAbC%12\n}\n-----END"),
        ("add-mask", {}, "-----BEGIN"),
        ("add-mask", {}, "AbC%12"),
        ("add-mask", {}, "-----END"),
    ]
    commands.mask("\n")
    assert len(stream.getvalue().splitlines()) == 4


def test_groups_and_untrusted_lines_close_also_on_errors(tmp_path: Path) -> None:
    commands, stream, _, _ = active(tmp_path)

    def fail() -> None:
        with commands.group("train\n::error::"), commands.untrusted():
            stream.write("::add-mask::e\n")
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        fail()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "::group::train%0A::error::"
    token = lines[1].removeprefix("::stop-commands::")
    assert len(token) == 32
    assert lines[2:] == ["::add-mask::e", f"::{token}::", "::endgroup::"]


def test_outside_of_a_workflow_nothing_but_plain_messages_is_printed() -> None:
    stream = io.StringIO()
    commands = WorkflowCommands({}, stream)
    commands.outputs({"a": "b"})
    assert not commands.summary("x")
    commands.mask("secret")
    with commands.group("train"), commands.untrusted():
        commands.annotate("error", "why", title="t", file="trackside.yaml", line=3)
    assert stream.getvalue() == "train\nerror: trackside.yaml:3: t: why\n"


def test_the_environment_of_later_steps_is_never_written(tmp_path: Path) -> None:
    output, environment = tmp_path / "output", tmp_path / "env"
    commands = WorkflowCommands(
        {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(output), "GITHUB_ENV": str(environment)}, io.StringIO()
    )
    commands.outputs({"GITHUB_ENV": "A=1"})
    commands.summary("A=1")
    assert not environment.exists()


def obeyed(text: str) -> list[str]:
    """Lines of a log that the runner takes for commands: trimmed, `::` in front; or `##[` anywhere."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line for line in lines if line.strip().startswith("::") or "##[" in line]


@given(
    st.lists(st.sampled_from(["::", "##[", "#", "[", "\n", "\r", " ", "\t", "add-mask::x", "a", "\u00a0"])).map("".join)
)
def test_inert_text_commands_nothing(text: str) -> None:
    assert obeyed(inert(text)) == []


def test_a_stage_says_and_fails_without_commanding_the_runner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Messages quote pull requests: names of stages, files and parameters, errors of their parsers."""
    hostile = 'x\n  ::set-output name=runs-on::["evil"]\r::add-mask::a\n##[add-mask]b'
    out = io.StringIO()
    env = {"GITHUB_ACTIONS": "true", "TRACKSIDE_MODE": hostile, "GITHUB_OUTPUT": str(tmp_path / "out")}
    context = Context(env=env, out=out)
    context.say(hostile)
    assert obeyed(out.getvalue()) == []
    assert run_stage(context, "plan") == 2
    said = capsys.readouterr()
    assert obeyed(said.err) == []
    assert [line.partition(" ")[0] for line in obeyed(out.getvalue())] == ["::error"]


@pytest.mark.parametrize("stage", LEFT_BY)
def test_an_error_leaves_its_result_for_the_artifact(stage: str, tmp_path: Path) -> None:
    out = tmp_path / "left" / stage
    assert run_stage(Context(env={"TRACKSIDE_OUT": str(out)}, out=io.StringIO()), stage) == 2
    result = load(Result, (out / "result.json").read_bytes())
    assert (result.command, result.decision, result.reason_code) == (stage, "failed", "config_invalid")
