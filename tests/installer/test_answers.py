"""Answers from a file: the options of the command line and nothing else, and the command line says the last word."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.errors import InstallError
from installer.target.answers import expanded
from installer.target.commands import main


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "answers.toml"
    made.write_text(
        'prefix = "/srv/box"\nallow = ["10.1.0.0/16", "fd00::/8"]\nkeep = 3\nfirewall = true\nyes = false\n'
    )
    return made


def test_answers_become_the_words_of_their_options(file: Path) -> None:
    words = ["--prefix=/srv/box", "--allow=10.1.0.0/16", "--allow=fd00::/8", "--keep=3", "--firewall"]
    assert expanded(["install", "--answers", str(file), "--yes"]) == ["install", *words, "--yes"]
    assert expanded(["install", f"--answers={file}"]) == ["install", *words]


def test_the_command_line_says_the_last_word(file: Path) -> None:
    said = expanded(["install", "--allow", "10.9.0.0/16", "--prefix=/opt/b", "--answers", str(file)])
    assert [word for word in said if "10.1" in word or "/srv" in word] == []


def test_without_a_file_nothing_changes() -> None:
    assert expanded(["install", "--yes"]) == ["install", "--yes"]


@pytest.mark.parametrize(
    "content",
    ["fingerprint = 'aa'", "medium = '/x'", "answers = 'x'", "help = true", "Prefix = 'x'", "'-x' = true", "keep = 1.5",
     "user = {a = 1}", "allow = [1]", "this is no TOML", "yes = 2026-01-01"],
)  # fmt: skip
def test_what_is_no_answer_is_refused_with_a_hint(content: str, file: Path) -> None:
    file.write_text(content)
    with pytest.raises(InstallError) as refused:
        expanded(["install", "--answers", str(file)])
    assert refused.value.hint


@pytest.mark.parametrize("words", [["install", "--answers"], ["install", "--answers", "/not/there"]])
def test_a_file_that_is_not_there_is_said(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    assert "hint:" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["nonsense = true", "pre = '/x'", "to-snapshot = true", "keep = 'many'"])
def test_an_option_that_install_does_not_have_is_refused_by_its_parser(content: str, file: Path) -> None:
    file.write_text(content)
    with pytest.raises(SystemExit) as ended:
        main(["install", "--answers", str(file)])
    assert ended.value.code == 2
