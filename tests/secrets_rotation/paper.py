"""A target on paper: it does what a test tells it to, also to lose an answer or to be away."""

from dataclasses import dataclass, field

from secrets_rotation.declared import Setting
from secrets_rotation.exceptions import TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators.base import Answer, Rotator, Usage


@dataclass
class Paper:
    """The target behind the rotator, as the test sees it."""

    accepts: set = field(default_factory=set)
    sets: list = field(default_factory=list)
    revoked: list = field(default_factory=list)
    sessions: list = field(default_factory=list)
    is_away: bool = False
    loses_answers: bool = False
    refuses_rule: str = ""
    ignores_sets: bool = False


PAPERS = {}


class PaperRotator(Rotator):
    name = "paper"
    title = "Paper"
    summary = "A target of the tests."
    settings = (
        Setting("name", "Which one", required=True),
        Setting("adminPassword", "Nothing needs it", secret=True),
    )

    @property
    def paper(self):
        return PAPERS[self.target["name"]]

    def principal(self):
        return f"paper:{self.target['name']}"

    def probe(self, credential):
        if self.paper.is_away:
            return Answer.UNKNOWN
        works = credential.value.reveal() in self.paper.accepts
        return Answer.WORKS if works else Answer.REFUSED

    def set(self, pending, current, guard):
        self.answer()
        if self.paper.refuses_rule:
            raise ValueRefusedError(self.paper.refuses_rule)
        guard.confirm()
        self.paper.sets.append(pending.value.reveal())
        if not self.paper.ignores_sets:
            self.paper.accepts.add(pending.value.reveal())
        if self.paper.loses_answers:
            raise TargetUnknownError("the connection broke")

    def discard(self, pending, current, guard):
        self.answer()
        guard.confirm()
        self.paper.accepts.discard(pending.value.reveal())

    def in_use(self, old):
        self.answer()
        return [Usage(session, "test", None) for session in self.paper.sessions]

    def revoke(self, old, current, guard):
        self.answer()
        guard.confirm()
        self.paper.revoked.append(old.value.reveal())
        self.paper.accepts.discard(old.value.reveal())

    def answer(self):
        if self.paper.is_away:
            raise TargetUnknownError("nobody answers")
