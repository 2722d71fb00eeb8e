"""One attempt of a droid: ask a model for a change, let the tests judge it, show what still fails, ask again.

The first try is greedy, the others are samples at a temperature: several tries and a judge are worth more to a small
model than one long conversation, so a talk never holds more than the task, the last answer and what came of it. An
attempt ends at the first change that passes (or at `plausible` of them), or with an honest account: unusable answers
in a row, the same edit with the same result again and again, or a limit on tokens, answers or time.
"""

from __future__ import annotations

import hashlib

from appliance.droids import answer as answers
from appliance.droids import material, prompt
from appliance.droids.account import Account, Ended
from appliance.droids.diff import changed_lines, diff_of
from appliance.droids.edits import apply
from appliance.droids.task import DroidResult, Feedback, Task, Validate
from appliance.errors import LimitExceeded, Unavailable
from appliance.ports import Completion, Model, Progress
from appliance.secrets import leftover, redact, restore
from appliance.settings import DroidSettings
from appliance.work import Candidate

__all__ = ["DroidResult", "Feedback", "Task", "attempt"]

SMALLEST_PROMPT = 700
"""Tokens below which a prompt says too little to be worth a call."""
LINE_SHARE = 40
"""Tokens of a prompt for each line of the longest piece of code in it: a line has 12, and a piece a third at most."""


def attempt(task: Task, model: Model, validate: Validate, settings: DroidSettings, progress: Progress) -> DroidResult:
    """Try to repair the fault of a task.

    `validate` maps path → whole new content to Feedback; it is called once for each different change. Raises
    Unavailable and NotFound as the model's port does, unless a passing change is in hand already.
    """
    return _Attempt(task, model, validate, settings, progress).run()


class _Attempt:
    def __init__(
        self, task: Task, model: Model, validate: Validate, settings: DroidSettings, progress: Progress
    ) -> None:
        self.task, self.model, self.validate = task, model, validate
        self.settings, self.progress = settings, progress
        self.account = Account(settings)
        self.tree = material.Tree(task.tree)
        self.candidates: list[Candidate] = []
        self.judged: dict[str, Feedback] = {}
        self.known = material.ranked(task)
        self.secrets: dict[str, str] = {}
        """Of the code only: a secret of the report never gets into code."""
        self.room = settings.prompt_tokens
        self.opening = self._open()

    def run(self) -> DroidResult:
        """All tries, and the account of them."""
        try:
            for message in self.opening:
                self.account.note(message["role"], message["content"])
            for sample in range(self.settings.samples):
                self.progress(f"try {sample + 1} of {self.settings.samples} by {self.task.model}")
                self._try(sample)
            reason = f"{self.settings.samples} tries and {self.account.answers} answers"
        except Ended as end:
            reason = str(end)
        except Unavailable as error:
            if not self.candidates:
                raise
            reason = error.message
        return self._result(reason)

    def _try(self, sample: int) -> None:
        """One conversation: an answer, and corrections after what came of it."""
        last: list[prompt.Message] = []
        for turn in range(self.settings.turns):
            said = self._ask(last, sample, turn)
            read = answers.read(restore(said.text, self.secrets))
            files, problem = self._understood(read)
            if read.cannot:
                self._note(said, f"the model gives up: {read.cannot}", "gave up")
                return
            outcome = "unusable"
            if problem and said.finish_reason == "length":
                problem += f"\nThe answer was cut after {said.completion_tokens} tokens: answer shorter"
                outcome = "cut"
            feedback = None if problem else self._judge(files)
            seen = prompt.observation(feedback) if feedback else problem
            self._note(said, seen, ("passed" if feedback.passed else "failed") if feedback else outcome)
            self.account.usable(problem)
            if feedback and feedback.passed:
                self._keep(files, said, read.words)
                return
            self.account.repeated(_digest(files) if feedback else said.text, seen)
            last = prompt.result(said.text, problem, feedback, self.room)

    def _ask(self, last: list[prompt.Message], sample: int, turn: int) -> Completion:
        """One answer. A prompt that is too long for the model is asked again at half the length, down to a limit."""
        while True:
            messages = [{**m, "content": redact(m["content"])[0]} for m in (*self.opening, *last)]
            size = sum(prompt.tokens(message["content"]) for message in messages)
            allowed = self.account.allow(size)
            try:
                said = self.model.chat(
                    messages,
                    task="repair",
                    model=self.task.model,
                    max_tokens=allowed,
                    temperature=0.0 if sample == 0 else self.settings.temperature,
                    seed=sample * self.settings.turns + turn,
                    episode=self.task.episode,
                )
            except LimitExceeded as error:
                self.room, last = self.room // 2, []
                if self.room < SMALLEST_PROMPT + prompt.tokens(prompt.SYSTEM):
                    raise Ended(f"the model's context is too small for the task: {error.message}") from error
                note = f"the prompt was too long for the model: asked again with room for {self.room} tokens"
                self.account.note("system", note, outcome="context")
                self.opening = self._open()
                continue
            self.account.spent(said, size, prompt.tokens(said.text))
            return said

    def _open(self) -> list[prompt.Message]:
        """The first messages, with as much code as there is room for."""
        pieces = list(material.pieces(self.task, self.known, min(self.settings.whole_lines, self.room // LINE_SHARE)))
        for piece in pieces:
            self.secrets |= redact(piece.text)[1]
        opened = prompt.opening(self.task, self.known, pieces, self.room)
        return [{**message, "content": redact(message["content"])[0]} for message in opened]

    def _understood(self, read: answers.Answer) -> tuple[dict[str, str], str]:
        """New contents of files, or why the answer cannot be used."""
        if read.problem or read.cannot:
            return {}, read.problem
        odd = [trouble for edit in read.edits if (trouble := self.tree.trouble(edit.path))]
        applied = apply(read.edits, self.tree.reading, self.task.protected, self.settings.whole_lines)
        problem = next(iter(odd), "") or applied.problem
        for path, text in applied.files.items():
            mark = leftover(text)
            if mark and mark not in (self.tree.reading(path) or ""):
                problem = problem or f"{path} would hold the mark {mark}, which stands for a secret of the report"
        return ({}, problem) if problem else (dict(applied.files), "")

    def _judge(self, files: dict[str, str]) -> Feedback:
        """What the tests say. The same change is not run twice."""
        key = _digest(files)
        if key not in self.judged:
            self.account.in_time()
            self.progress(f"testing change {len(self.judged) + 1}: {', '.join(sorted(files))}")
            self.judged[key] = self.validate(files)
        return self.judged[key]

    def _keep(self, files: dict[str, str], said: Completion, words: str) -> None:
        """Put a passing change among the candidates. Raises Ended when there are enough."""
        diff = diff_of(self.tree.reading, files)
        origin = f"{said.model}:{said.digest}" if said.digest else said.model
        why = redact(" ".join(words.split()))[0][:200]
        if all(diff != one.diff for one in self.candidates):
            weight = 1.0 / (1 + changed_lines(diff))
            self.candidates.append(Candidate(diff=diff, files=files, origin=origin, weight=weight, why=why))
        if len(self.candidates) >= self.settings.plausible:
            raise Ended(f"answer {self.account.answers} passes all tests")

    def _note(self, said: Completion, seen: str, outcome: str) -> None:
        self.account.note("agent", redact(said.text)[0], redact(prompt.cut(seen))[0], said, outcome)

    def _result(self, reason: str) -> DroidResult:
        account, tried = self.account, len(self.judged)
        passed = f"{len(self.candidates)} of {tried} different changes pass" if tried else "no change could be tried"
        ordered = sorted(self.candidates, key=lambda one: -one.weight)
        return DroidResult(
            candidates=tuple(ordered),
            reason=f"{self.task.model}: {reason}; {passed}",
            steps=tuple(account.steps),
            validated=tried,
            prompt_tokens=account.prompt_tokens,
            completion_tokens=account.completion_tokens,
            model_seconds=account.model_seconds,
        )


def _digest(files: dict[str, str]) -> str:
    text = "\0".join(f"{path}\0{files[path]}" for path in sorted(files))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
