"""The planner that asks a language model: outline, entities, scenes, then each scene's shots and how they are filmed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ...storyboard.errors import InputError
from ...storyboard.script import Entity, Line, Scene, Script, Shot, letters
from ...storyboard.vocabulary import Vocabulary
from ...templates.prompt import load_prompt
from ...templates.script_template import ScriptTemplate
from ..lengths import MIN_SHOT_SECONDS, check_seconds, share_seconds
from ..models.language import BadAnswer, LanguageModel, Message
from ..side_by_side import side_by_side
from .desk import Desk, PassReport, Value
from .long_story import DIGEST_WORDS, MAX_WORDS, WHOLE_WORDS, split_story
from .passes import (
    Cast,
    Change,
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
        self._desk, self._vocabulary = Desk(model, store, heard), vocabulary

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
        session = _Session(self._desk, self._vocabulary, template, seconds, seed)
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

        def scene_shots(index: int) -> _Made:
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
            return self._desk.ask(f"digest-{index + 1}", [Message("user", text)], Digest, lambda d: [], prompt, seed)

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
    ) -> _Made:
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
        whole = Scene(
            id=f"s{number}", heading="INT" if scene.interior else "EXT", location=scene.location, time=scene.time,
            summary=scene.summary, shots=merged,
        )  # fmt: skip
        return _Made(whole, {id_: shot.changes for id_, shot in zip(ids, shots, strict=True)})


@dataclass(frozen=True)
class _Made:
    """A scene, and who looks different from which of its shots on."""

    scene: Scene
    changes: dict[str, list[Change]]


class _Session:
    """One plan: what every pass is told, and which prompts it used."""

    def __init__(
        self, desk: Desk, vocabulary: Vocabulary | None, template: ScriptTemplate, seconds: float, seed: int
    ) -> None:
        self._desk, self._vocabulary, self.template = desk, vocabulary, template
        self._seconds, self._seed = seconds, seed
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
            Message("system", system.render(**common, language=self.language, vocabulary=self._vocabulary)),
            Message("user", own.render(**common, **values)),
        ]
        self.marks |= {system.mark, own.mark}
        return self._desk.ask(name, messages, answer, check, own, self._seed)


def _shot(content: PlannedShot, look: Look, seconds: float) -> Shot:
    """Content and look of a shot, joined."""
    return Shot(
        id=look.id, seconds=seconds, size=look.size, angle=look.angle, movement=look.movement, lens=look.lens,
        action=content.action, entities=list(dict.fromkeys(content.entities)),
        lines=[Line(speaker=line.speaker, text=line.text) for line in content.lines],
        transition_in=look.transition_in, continuity=look.continuity, notes=look.notes,
    )  # fmt: skip


def _script(outline: Outline, cast: Cast, made: list[_Made], template: ScriptTemplate, planner: str) -> Script:
    """The whole script.

    Raises:
        BadAnswer: passes that are right one by one do not fit together.
    """
    changes: dict[str, dict[str, str]] = {entity.id: {} for entity in cast.entities}
    for shot, changed in (
        (shot, changed) for scene in made for shot, each in scene.changes.items() for changed in each
    ):
        changes[changed.entity][shot] = changed.now
    entities = [Entity(**entity.model_dump(), changes=changes[entity.id]) for entity in cast.entities]
    try:
        return Script(
            title=outline.title, logline=outline.logline, language=outline.language, style=template.style, planner=planner,
            template=template.name, entities=entities, scenes=[each.scene for each in made],
        )  # fmt: skip
    except ValidationError as error:
        raise BadAnswer(
            f"the plan does not fit together: {error.errors()[0]['msg']}; run the same command again"
        ) from None


def _rescaled(lengths: list[float], total: float, least: float = 0.0) -> list[float]:
    """Lengths in the same proportion that add up to `total`, none below `least`."""
    return share_seconds([max(0.0, length - least) or 1e-3 for length in lengths], total, least)
