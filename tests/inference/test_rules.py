"""Rules files: what is accepted, and how refusals read."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import ConfigError
from inference import rules
from inference.asked import Sensitivity
from inference.catalogue import Catalogue
from inference.parameters import PARAMETERS, Parameters
from tests.inference.catalogues import bare_box, stocked_box

EXAMPLE = """
[[rule]]
name = "code repair, small context"
when = { task = ["repair"], language = ["python"], prompt_tokens = { max = 4000 }, sensitivity = { max = "internal" } }
candidates = ["search", "coder-7b", "coder-32b"]
objective = { quality = 0.6, cost = 0.3, speed = 0.1 }
fallback = ["coder-32b"]
learning = "apply"
"""


def refusal(text: str, catalogue: Catalogue | None = None) -> str:
    box = stocked_box() if catalogue is None else catalogue
    with pytest.raises(ConfigError) as caught:
        rules.parse(text, box)
    return caught.value.message


def test_the_documented_example_is_accepted() -> None:
    (rule,) = rules.parse(EXAMPLE, stocked_box()).rule
    assert rule.candidates == ("search", "coder-7b", "coder-32b")
    assert rule.when.sensitivity is not None and rule.when.sensitivity.max is Sensitivity.internal
    assert rule.when.prompt_tokens is not None and rule.when.prompt_tokens.max == 4000
    assert rule.learning == "apply"


def test_default_rules_are_valid_on_a_bare_box() -> None:
    parsed = rules.parse(rules.default_text(), bare_box())
    assert parsed.rule[0].candidates == ("all-minilm-l6-v2",)


def test_a_missing_file_means_the_default_rules(tmp_path: Path) -> None:
    assert rules.load(tmp_path / "routes.toml", bare_box()) == rules.parse(rules.default_text(), bare_box())


def test_an_empty_file_is_valid_and_has_no_rules(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_text("")
    assert rules.load(file, bare_box()).rule == ()


def test_a_single_word_may_stand_for_a_list() -> None:
    (rule,) = rules.parse('[[rule]]\nname="a"\nwhen={task="review"}\ncandidates="coder"\n', stocked_box()).rule
    assert rule.when.task == ("review",)
    assert rule.candidates == ("coder",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[rule]]\nname="a"\ncandidate=["*"]\n', ["rule 'a'", "candidate: unknown key", "'candidates'"]),
        ('[[rules]]\nname="a"\n', ["rules: unknown key", "'rule'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={langage="python"}', ["when.langage", "'language'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={prompt_tokens={maximum=3}}', ["prompt_tokens.maximum", "'max'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nobjective={qualty=1.0}', ["objective.qualty", "'quality'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={sensitivity={max="intern"}}', ["internal, confidential"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={prompt_tokens={min=9,max=3}}', ["min 9 is above max 3"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nobjective={quality=0.0}', ["at least one weight"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nlearning="on"', ["learning", "apply"]),
        ('[[rule]]\nname="a"\ncandidates=[]\n', ["candidates"]),
        ('[[rule]]\ncandidates=["*"]\n', ["rule number 1", "name"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\n[[rule]]\nname="a"\ncandidates=["*"]\n', ["two rules are named 'a'"]),
        ('[[rule]]\nname="a"\ncandidates=["coder-8b"]\n', ["rule 'a'", "unknown model 'coder-8b'", "'coder-7b'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nfallback=["nobody-at-all"]', ["'nobody-at-all'", "all-minilm-l6-v2"]),
        ('[[rule]]\nname="a"\ncandidates=["search"]\n', ["'search'", "repair"]),
        ('[[rule]]\nname="a"\nwhen={task=["repair","chat"]}\ncandidates=["search"]\n', ["'search'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={task="chatt"}', ["unknown task 'chatt'", "'chat'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={needs="tool"}', ["unknown need 'tool'", "'tools'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={time={form="08:00"}}', ["time.form: unknown key", "'from'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={time={days="mod"}}', ["unknown day 'mod'", "'mon'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nwhen={severity={maks=2}}', ["severity.maks", "'max'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nretry={on="bussy"}', ["'bussy'", "'busy'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nretry={tries=2}', ["retry.tries: unknown key", "'times'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nretry={times=99}', ["retry.times"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nqueue_seconds=-1', ["queue_seconds"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nparameters={strip="sed"}', ["'sed'", "'seed'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nparameters={set={messages=[]}}', ["unknown parameter 'messages'"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nparameters={set={n=true}}', ["n must be a whole number"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nparameters={set={top_p=nan}}', ["top_p must be a number"]),
        ('[[rule]]\nname="a"\ncandidates=["*"]\nparameters={set={n=1},strip="n"}', ["both stripped and set"]),
        ("[[rule]\n", ["not valid TOML", "line 1"]),
        ("rule = 3\n", ["rule"]),
    ],
)
def test_a_wrong_file_is_refused_in_words_that_help(text: str, words: list[str]) -> None:
    message = refusal(text)
    for word in words:
        assert word in message


def test_every_problem_is_named_at_once() -> None:
    message = refusal('[[rule]]\nname="a"\ncandidates=["gone","lost"]\n[[rule]]\nname="a"\ncandidates=["*"]\n')
    assert "'gone'" in message and "'lost'" in message and "two rules" in message


def test_an_unknown_model_on_an_empty_box_says_how_to_add_one() -> None:
    assert "model import" in refusal('[[rule]]\nname="a"\ncandidates=["x"]\n', Catalogue())


def test_an_unreadable_file_is_a_config_error(tmp_path: Path) -> None:
    file = tmp_path / "routes.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot read the rules"):
        rules.load(file, bare_box())


def test_every_parameter_of_a_rule_is_one_that_the_gateway_passes_on() -> None:
    from inference.gateway.chat import CHAT

    assert set(PARAMETERS) <= {*CHAT, "max_tokens"}


def test_parameters_are_stripped_then_set_and_what_was_sent_in_vain_is_named() -> None:
    wanted = Parameters(strip=("seed", "top_k"), set={"temperature": 0.5, "n": 1})
    payload = {"messages": [], "seed": 4, "temperature": 1.0, "n": 1}
    assert wanted.applied(payload) == ({"messages": [], "temperature": 0.5, "n": 1}, ("seed", "temperature"))
    assert payload["seed"] == 4
