"""The planner that asks a language model: outline, entities, scenes, then each scene's shots and how they are filmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ...storyboard.errors import InputError
from ...storyboard.script import Entity, Line, Scene, Script, Shot, letters
from ...storyboard.takes import dependency_hash
from ...storyboard.vocabulary import Vocabulary
from ...templates.prompt import Prompt, load_prompt
from ...templates.script_template import ScriptTemplate
from ..lengths import MIN_SHOT_SECONDS, check_seconds, share_seconds
from ..models.language import Answered, BadAnswer, LanguageModel, Message, ask
from ..side_by_side import side_by_side
from .long_story import DIGEST_WORDS, MAX_WORDS, WHOLE_WORDS, split_story
from .passes import (
    Cast,
    Digest,
    Look,
    Looks,
    Outline,
    PlannedScene,
    PlannedShot,
    Scenes,
    Shots,
    beats_wrong,
    cast_wrong,
    looks_wrong,
    scenes_wrong,
    shots_wrong,
)
from .store import PassStore

Value = TypeVar("Value", bound=BaseModel)
PASS_TRIES = 3
"""How often a pass is asked for, each time with a repair turn: cheaper models break many of their answers."""


@dataclass(frozen=True)
class PassReport:
    """How a pass went: kept from an earlier run, valid at once, or valid after the repair turn."""

    name: str
    kept: bool
    repaired: bool


class ModelPlanner:
    """See `agents.planner.Planner`.

    Args:
        store: keeps every pass.
        vocabulary: what the generator can draw; None for everything.
        heard: is told of every pass.
    """

    def __init__(
        self,
        model: LanguageModel,
        store: PassStore,
        vocabulary: Vocabulary | None = None,
        heard: Callable[[PassReport], None] = lambda report: None,
    ) -> None:
        self.signature = model.name
        self._model, self._store, self._vocabulary, self._heard = model, store, vocabulary, heard

    def plan(self, story: str, *, template: ScriptTemplate, seconds: float, seed: int) -> Script:
        """See `Planner.plan`. The seed is part of what is asked: another one asks anew.

        Raises:
            InputError: the length or the story is out of range.
            ModelError: the model gave no usable answer; finished passes are kept.
        """
        check_seconds(seconds)
        words = len(story.split())
        if words > MAX_WORDS:
            raise InputError(f"the story has {words} words: at most {MAX_WORDS:,} are planned at once, split it")
        told = self._shortened(story, words, seed)
        session = _Session(self, template, seconds, seed)
        session.marks |= {load_prompt("digest").mark} if words > WHOLE_WORDS else set()
        beats = [beat.name for beat in template.beats]
        outline = session.ask("outline", Outline, lambda o: beats_wrong(o, beats), story=told)
        session.language = outline.language
        cast = session.ask("entities", Cast, cast_wrong, outline=outline, story=told)
        shares = {beat.name: beat.share for beat in template.beats}
        whole = sum(shares.values())
        scenes = session.ask(
            "scenes", Scenes, lambda s: scenes_wrong(s, cast, beats), outline=outline, cast=cast,
            beat_seconds={name: round(seconds * share / whole, 1) for name, share in shares.items()},
        )  # fmt: skip
        lengths = _rescaled([scene.seconds for scene in scenes.scenes], seconds)
        planned = [s.model_copy(update={"seconds": length}) for s, length in zip(scenes.scenes, lengths, strict=True)]
        texts = {beat.beat: beat.text for beat in outline.beats}

        def scene_shots(index: int) -> Scene:
            before = planned[index - 1].summary if index else ""
            return self._scene(
                session, cast, planned[index], index + 1, before, texts, told if words <= WHOLE_WORDS else ""
            )

        made = side_by_side(scene_shots, range(len(planned)))
        return _script(outline, cast, made, template, f"{self.signature} ({', '.join(sorted(session.marks))})")

    def _shortened(self, story: str, words: int, seed: int) -> str:
        """The story, or what its parts come to."""
        if words <= WHOLE_WORDS:
            return story
        parts = split_story(story)
        prompt = load_prompt("digest")

        def shorten(index: int) -> Digest:
            text = prompt.render(
                part=index + 1, parts=len(parts), words=max(60, DIGEST_WORDS // len(parts)), text=parts[index]
            )
            return self._pass(f"digest-{index + 1}", [Message("user", text)], Digest, lambda d: [], prompt, seed)

        digests = side_by_side(shorten, range(len(parts)))
        people = list(dict.fromkeys(person for digest in digests for person in digest.characters))
        return "\n\n".join(d.events for d in digests) + "\n\nCharacters: " + "; ".join(people)

    def _scene(
        self,
        session: _Session,
        cast: Cast,
        scene: PlannedScene,
        number: int,
        before: str,
        texts: dict[str, str],
        story: str,
    ) -> Scene:
        """A scene with its shots: their content, and how they are filmed."""
        most = max(1, int(scene.seconds / MIN_SHOT_SECONDS))
        count = min(most, max(1, round(scene.seconds / session.template.shot_seconds)))

        def wrong(shots: Shots) -> list[str]:
            many = len(shots.shots) > most
            crowd = (
                [f"shots: {len(shots.shots)} do not fit into {scene.seconds} seconds: at most {most}"] if many else []
            )
            return crowd + shots_wrong(shots, cast)

        shots = session.ask(
            f"shots-{number}", Shots, wrong, prompt="shots", scene=scene, beat_text=texts[scene.beat], cast=cast,
            before=before, count=count, story=story,
        ).shots  # fmt: skip
        lengths = _rescaled([shot.seconds for shot in shots], scene.seconds, MIN_SHOT_SECONDS)
        ids = [f"{number}{letters(index)}" for index in range(len(shots))]
        shown = [
            {"id": id_, **shot.model_dump(), "seconds": length}
            for id_, shot, length in zip(ids, shots, lengths, strict=True)
        ]
        looks = session.ask(
            f"looks-{number}", Looks, lambda looks: looks_wrong(looks, ids), prompt="looks", scene=scene, shots=shown
        ).shots
        merged = [_shot(*each) for each in zip(shots, looks, lengths, strict=True)]
        return Scene(
            id=f"s{number}", heading="INT" if scene.interior else "EXT", location=scene.location, time=scene.time,
            summary=scene.summary, shots=merged,
        )  # fmt: skip

    def _pass(
        self, name: str, messages: Sequence[Message], answer: type[Value], check: Callable[[Value], list[str]], prompt: Prompt,
        seed: int,
    ) -> Value:  # fmt: skip
        """One answer, from the store if it was asked the same before."""
        asked = dependency_hash(self.signature, prompt.mark, seed, [(m.role, m.text) for m in messages])
        kept = self._store.get(name, asked, answer)
        if kept is not None and not check(kept):
            self._heard(PassReport(name, True, False))
            return kept
        said = self._persistent(messages, answer, check)
        self._store.put(name, asked, said.value, model=self.signature, prompt=prompt.mark)
        self._heard(PassReport(name, False, said.repaired))
        value: Value = said.value
        return value

    def _persistent(
        self, messages: Sequence[Message], answer: type[Value], check: Callable[[Value], list[str]]
    ) -> Answered:
        """An answer; where the repair turn did not help, the question is put anew."""
        for _ in range(PASS_TRIES - 1):
            try:
                return ask(self._model, messages, answer, check=check)
            except BadAnswer:
                continue
        return ask(self._model, messages, answer, check=check)


class _Session:
    """One plan: what every pass is told, and which prompts it used."""

    def __init__(self, planner: ModelPlanner, template: ScriptTemplate, seconds: float, seed: int) -> None:
        self._planner, self.template, self._seconds, self._seed = planner, template, seconds, seed
        self.language = ""
        self.marks: set[str] = set()

    def ask(
        self,
        name: str,
        answer: type[Value],
        check: Callable[[Value], list[str]],
        prompt: str | None = None,
        **values: Any,
    ) -> Value:
        system, own = load_prompt("planner"), load_prompt(prompt or name)
        common = {"template": self.template, "seconds": f"{self._seconds:g}"}
        messages = [
            Message("system", system.render(**common, language=self.language, vocabulary=self._planner._vocabulary)),
            Message("user", own.render(**common, **values)),
        ]
        self.marks |= {system.mark, own.mark}
        return self._planner._pass(name, messages, answer, check, own, self._seed)


def _shot(content: PlannedShot, look: Look, seconds: float) -> Shot:
    """Content and look of a shot, joined."""
    return Shot(
        id=look.id, seconds=seconds, size=look.size, angle=look.angle, movement=look.movement, lens=look.lens,
        action=content.action, entities=list(dict.fromkeys(content.entities)),
        lines=[Line(speaker=line.speaker, text=line.text) for line in content.lines],
        transition_in=look.transition_in, continuity=look.continuity, notes=look.notes,
    )  # fmt: skip


def _script(outline: Outline, cast: Cast, scenes: list[Scene], template: ScriptTemplate, planner: str) -> Script:
    """The whole script.

    Raises:
        BadAnswer: passes that are right one by one do not fit together.
    """
    entities = [Entity(**entity.model_dump()) for entity in cast.entities]
    try:
        return Script(
            title=outline.title, logline=outline.logline, language=outline.language, style=template.style, planner=planner,
            template=template.name, entities=entities, scenes=scenes,
        )  # fmt: skip
    except ValidationError as error:
        raise BadAnswer(
            f"the plan does not fit together: {error.errors()[0]['msg']}; run the same command again"
        ) from None


def _rescaled(lengths: list[float], total: float, least: float = 0.0) -> list[float]:
    """Lengths in the same proportion that add up to `total`, none below `least`."""
    return share_seconds([max(0.0, length - least) or 1e-3 for length in lengths], total, least)
