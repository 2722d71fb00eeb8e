from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.line.diffs import diff_of, stat_of


def applied(tree: Path, diff: str) -> None:
    subprocess.run(["git", "init", "-q", str(tree)], check=True)
    done = subprocess.run(["git", "apply", "-"], input=diff.encode(), cwd=tree, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


LINES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\x00\n")),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=LINES, after=LINES, tail=st.sampled_from(["", "\n"]), new_tail=st.sampled_from(["", "\n"]))
def test_git_applies_every_diff_to_the_letter(
    tmp_path_factory, before: list[str], after: list[str], tail: str, new_tail: str
) -> None:
    tree = tmp_path_factory.mktemp("tree")
    (tree / "a.txt").write_text("\n".join(before) + tail or "x", encoding="utf-8", newline="")
    wanted = {"a.txt": "\n".join(after) + new_tail or "y", "new.txt": "\n".join(after) + "\n"}
    diff = diff_of(tree, wanted)
    applied(tree, diff)
    for path, content in wanted.items():
        assert (tree / path).read_text(encoding="utf-8") == content


def test_a_diff_is_counted_by_its_hunks_not_its_headers(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n-- three\n", encoding="utf-8")
    diff = diff_of(tmp_path, {"a.py": "one\n2\n++ three\n", "b.py": "new\n"})
    stat = stat_of(diff)
    assert (stat.files, stat.insertions, stat.deletions) == (("a.py", "b.py"), 3, 2)


def test_what_is_equal_gives_no_diff(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\n", encoding="utf-8")
    assert diff_of(tmp_path, {"a.py": "one\n"}) == ""
