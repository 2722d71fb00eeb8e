"""A repository to learn in, and a model on the network that mends its functions as it is told to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.world import RunningBox, git, remote, until
from tests.http_serving import Said, model_serving

NAME = "taught"
FILES: Mapping[str, str] = {
    "shop/__init__.py": "",
    "shop/rates.py": "WHOLE = 100\n",
    "shop/price.py": '''from shop.rates import WHOLE


def shipping(total):
    """Free from 50 on."""
    if total > 50:
        return 0
    return 5


def discounted(price, percent):
    return price + price * percent / WHOLE
''',
    "tests/test_price.py": """from shop.price import discounted, shipping


def test_shipping():
    assert [shipping(total) for total in (49, 50, 51)] == [5, 0, 0]


def test_discounted():
    assert discounted(100, 10) == 90


def test_nothing_off():
    assert discounted(80, 0) == 80
""",
}
LESS = "def discounted(price, percent):\n    return price - price * percent / WHOLE\n"
EVALUATED = 'def shipping(total):\n    return eval("0 if total >= 50 else 5")\n'
LITERAL = """def shipping(total):
    from ast import literal_eval
    return literal_eval("0" if total >= 50 else "5")
"""
BREAK = """#!/bin/sh
# somebody else breaks what the next change needs, once, just after it has landed
test "$FACTORY_BREAKS" = 0 && exit 0
while read old new ref; do
  test "$ref" = refs/heads/main || continue
  test -e broken && exit 0
  touch broken
  unset GIT_DIR
  git clone -q . ../meanwhile && cd ../meanwhile && echo 'WHOLE = 70' > shop/rates.py
  git -c user.name=Other -c user.email=other@localhost commit -qam 'another whole'
  FACTORY_BREAKS=0 git push -q origin main
done
"""
RULES = f"""
[[rule]]
name = "taught"
when = {{ task = ["repair", "review"], repo = ["{NAME}"] }}
candidates = ["teachable"]

"""


@dataclass
class Teachable:
    """The model: for each function, what it answers; and what it was asked."""

    answers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def answer(self, text: str) -> str:
        self.asked.append(text)
        if "You review one change" in text:
            return "It does what the report wants.\nVERDICT: PASS"
        name = next((name for name in self.answers if f"REPORT {name}" in text), "")
        return f"The rule is wrong.\n\nshop/price.py::{name}\n```python\n{self.answers[name]}```\n" if name else "ready"

    def prompts(self, *words: str) -> list[str]:
        """What it was asked with all these words in it."""
        return [text for text in self.asked if all(word in text for word in words)]


@contextmanager
def teachable(box: RunningBox) -> Iterator[Teachable]:
    """The model, which the box asks for repairs and reviews of the repository."""
    model = Teachable()

    def answer(body: Mapping[str, Any]) -> Said:
        return model.answer("\n".join(str(message["content"]) for message in body["messages"])), 10, 10

    with model_serving("teachable", answer) as url:
        done = box.cli("model", "remote", "teachable", "--url", url, "--task", "repair", "--task", "review")
        assert done.returncode == 0, done.stderr
        routes = box.home / "policy" / "routes.toml"
        usual = routes.read_text()
        routes.write_text(RULES + usual)
        try:
            until(lambda: box.cli("route", "explain", "--task", "repair", "--repo", NAME).returncode == 0, "the rule")
            yield model
        finally:
            routes.write_text(usual)


def taught_repository(box: RunningBox, folder: Path) -> Path:
    """The box looks after the repository; a person approves what ships."""
    bare = remote(folder, NAME, FILES)
    done = box.cli("repo", "add", NAME, "--url", bare.as_uri(), "--autonomy", "low")
    assert done.returncode == 0, done.stderr
    return bare


def broken_by_another(bare: Path) -> None:
    """From now on somebody else's commit breaks the next change right after it has landed."""
    hook = bare / "hooks" / "post-receive"
    hook.write_text(BREAK)
    hook.chmod(0o755)
    git(bare, "config", "receive.denyCurrentBranch", "ignore")
