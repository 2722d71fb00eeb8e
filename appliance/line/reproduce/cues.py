"""The words of a report that say which value is which. Long patterns: one line holds one family of words."""

# ruff: noqa: E501 - a family of words broken over lines would be harder to read

from __future__ import annotations

import re
from enum import StrEnum


class Kind(StrEnum):
    """What a token does to the claim being read."""

    CALL = "call"
    VALUE = "value"
    EXCEPTION = "exception"
    NAME = "name"
    SETUP = "setup"
    EXPECTED = "expected"
    ACTUAL = "actual"
    WEAK = "weak"
    SHOWN = "shown"
    INPUT = "input"
    FLIP = "flip"
    WAS_EXPECTED = "was expected"
    WAS_ACTUAL = "was actual"
    HANG = "hang"
    ROUGHLY = "roughly"
    STOP = "stop"
    END = "end"
    NEWLINE = "newline"
    HEADING = "heading"
    WORD = "word"


_VERBS = (
    r"(?:be(?:come)?|been|return(?:ed|s)?|give|given|yield(?:ed)?|produce(?:d)?|equal|evaluate to|print|output|"
    r"raise(?:d)?|throw|result in|show|come out as|say|read|end up (?:as|with)|get|compute|fail with|have|keep|stay|remain)"
)
_ADVERBS = r"(?:also|always|really|just|still|instead|actually|probably|clearly|obviously|simply|rather|of course|then|have|only|both|all|each)"
_ARTICLE = r"(?:\s+(?:a|an|the)\b(?!\s*[-`]))?"

_WORDS: tuple[tuple[Kind, str], ...] = (
    (Kind.HANG, (
        r"hangs?(?:\s+forever)?|hung|never\s+(?:returns|ends|finishes|terminates|stops|completes|comes back)|"
        r"infinite(?:ly)?\s+(?:loops?|recurses?)|loop(?:s|ing)?\s+(?:forever|infinitely|endlessly)|(?:runs?|spins?)\s+forever|"
        r"endless(?:ly)?\s+loops?|(?:gets?|is|got)\s+stuck|freezes|locks up|"
        r"(?:does(?:n't| not)|did(?:n't| not)|won't)\s+(?:terminate|return|finish|stop|end|come back)"
        r"(?=\s*(?:[.,;!?\n]|$|for\b|when\b|at all\b|on\b|if\b|with\b|until\b|and\b))"
    )),
    (Kind.ACTUAL, rf"(?:should|must|shall)(?:\s+not|n't|nt|\s+never)(?:\s+{_ADVERBS})*(?:\s+{_VERBS})?"),
    (Kind.WAS_EXPECTED, (
        r"(?:is|was|were|would\s+be|would\s+have\s+been)\s+(?:the\s+)?(?:expected|correct|right|wanted|what\s+i\s+(?:want|expect)(?:ed)?)"
        r"(?:\s+(?:answer|result|value|output))?(?=\s*(?:[.,;!?)\n]|$|but\b|here\b|and\b))"
            r"|\((?:right|correct|expected|good|ok|fixed|should)\)|(?<=[`\"'\d\]\)}])\s+expected(?=\s*[,;.)])"
    )),
    (Kind.WAS_ACTUAL, (
        r"(?:is|was|gets)\s+(?:returned|printed|given|produced|shown|what\s+(?:i|we)\s+(?:get|got|see)|what\s+it\s+(?:returns|gives))"
        r"|comes\s+(?:out|back)(?!\s+as)|\((?:wrong|incorrect|bad|actual|broken|buggy|currently)\)"
    )),
    (Kind.FLIP, (
        r"(?:instead\s+of|rather\s+than|in\s+place\s+of|as\s+opposed\s+to|(?<=,)\s*not|and\s+not|but\s+not|where\s+it\s+should\s+be)"
        r"(?:\s+(?:returning|giving|raising|getting|being|yielding|producing|printing|the\s+(?:expected|correct|right|documented)(?:\s+(?:value|result))?|to\s+(?:return|be)|just))?" + _ARTICLE
    )),
    (Kind.EXPECTED, (
        rf"(?:should|must|ought\s+to|shall|needs?\s+to|(?:is|are|was|were|'s)?\s*supposed\s+to)(?:\s+{_ADVERBS})*(?:\s+{_VERBS})?(?:\s+correctly)?(?:\s*:)?" + _ARTICLE
        + r"|(?:i\s+|we\s+|i'd\s+|would\s+)?(?:have\s+)?(?:was\s+|were\s+|is\s+)?expect(?:ed|ing|s|ation)?(?:\s+(?:results?|outputs?|values?|behaviou?r|answer|return(?:\s+value)?|it|this|that|here|something\s+like))*"
          r"(?:\s+(?:is|was|were|would\s+be|(?:to\s+)(?:be|get|see|return|raise|give|have|yield|equal|print|produce)))*\s*(?:[:=]|\*\*:?)?" + _ARTICLE
        + r"|(?:correct|right|proper|desired|wanted|intended|true|real)\s+(?:answer|result|value|output|slug|one|behaviou?r)(?:\s+(?:is|would\s+be|should\s+be|was))?(?:\s*:)?"
        + r"|(?:would|'d)\s+like|please\s+(?:return|raise|give|make(?:\s+it)?|let)|(?:i|we)\s+need"
        + r"|used\s+to\s+(?:return|give|be|print|produce|yield)"
        + r"|want(?:ed|s)?(?:\s+to\s+(?:get|see|have))?(?:\s*:)?"
        + r"|(?:the\s+)?(?:docs?|documentation|docstring|readme|spec|manual)\s+(?:says?|promises?|claims?|states?|shows?)(?:\s+(?:that|it|this))*(?:\s+(?:returns?|is|gives|yields|should\s+(?:be|return)|raises))?(?:\s*:)?"
        + r"|(?:does(?:n't|nt| not)|did(?:n't| not)|is(?:n't| not)|wasn't|was\s+not|never|fails?\s+to|won't|not)\s+(?:return|give|raise|equal|yield|produce|throw|print)(?:s|ing|ed)?"
        + r"|(?:isn't|is\s+not|wasn't|was\s+not)(?=\s+[`\"'\d\[({-])"
    )),
    (Kind.ROUGHLY, r"approximately|approx\.?|roughly|around|about|close\s+to|circa|nearly|~(?=\s?\d)|≈"),
    (Kind.ACTUAL, (
        r"(?<!to )(?:got(?:ten)?|gets?|getting|gives?(?:\s+me)?|gave|giving|returns?|returned|returning|yields?|yielded|produces?|produced|"
        r"prints?|printed|outputs?|evaluates?\s+to|(?:comes?|came)\s+out\s+as|becomes?|became|results?\s+in|resulted\s+in|turns?\s+into|turned\s+into|"
        r"ends?\s+up\s+(?:as|with)|ended\s+up\s+(?:as|with)|shows?|raises?|raised|raising|throws?|threw|"
        r"(?:fails?|failed|failing|crash(?:es|ed)?|dies|died|blows\s+up|explodes|errors?(?:\s+out)?|bails\s+out|aborts?)\s+with|"
        r"i\s+see|saw|seeing|received?|computes?|says|reports?|answers)(?:\s+back)?(?:\s*:)?" + _ARTICLE
        + r"|(?:actual|observed|current|obtained|real)(?:ly)?(?:\s+(?:results?|outputs?|values?|behaviou?r|answer|return(?:\s+value)?))?(?:\s+(?:is|was))?\s*(?:[:=]|\*\*:?)?"
    )),
    (Kind.SHOWN, r"->|=>|→|⇒|==(?!=)|--+>"),
    (Kind.WEAK, r"(?:is|was|equals?|=)(?=\s)"),
)  # fmt: skip
CUES = tuple(
    (kind, re.compile(rf"(?:\b|(?=[-=~≈→⇒,'(])|(?<=[`\"'\d\])}}]))(?:{pattern})(?!\w)", re.IGNORECASE))
    for kind, pattern in _WORDS
)

LABEL = re.compile(
    r"[ \t]*(?:[-*+]\s+|\d+[.)]\s+|#{1,6}\s*)?(?:\*\*|__|\*)?(?P<what>"
    r"(?P<input>(?:(?:sample|example|test|given)\s+)?(?:inputs?|arguments?|args|params?|given|parameters)(?:\s+(?:data|value))?)|"
    r"(?P<expected>(?:what\s+i\s+)?(?:expected|expect|should\s+be|should\s+return|want(?:ed)?|correct|desired|exp)(?:\s+(?:results?|outputs?|values?|behaviou?r|answer|return(?:\s+value)?|to\s+(?:see|happen)))?)|"
    r"(?P<actual>(?:what\s+i\s+)?(?:actual|got|observed|current|currently|received|obtained|is|returned|now|output|result|outcome|act)(?:\s+(?:results?|outputs?|values?|behaviou?r|answer|return(?:\s+value)?))?))"
    r"(?:\*\*|__|\*)?\s*(?:\([^)\n]{0,30}\)\s*)?(?P<colon>[:=](?!=)|(?=\n|$))(?:\*\*|__|\*)?[ \t]*",
    re.IGNORECASE,
)  # fmt: skip
