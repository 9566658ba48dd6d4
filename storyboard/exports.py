"""What the film hands to people: `storyboard.html` and `film.srt`. Pure functions of data; no time of day in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..templates.pages import render_page
from .images import embedded_picture
from .plain_text import without_unsafe
from .script import Script
from .timeline import Timeline

DIALOGUE_LEAD_SECONDS = 0.2
PICTURE_CHARACTERS = 4_500_000
"""What all pictures of a page take at most: it is sent, and opened, as one file."""
MARKUP = re.compile(
    r"</?[A-Za-z!?][^<>]*>|<\d[\d:.,]*>"  # HTML's and WebVTT's
    r"|\{\\[^{}]*\}|\{[A-Za-z]:[^{}]*\}"  # SubStation's and MicroDVD's
)
"""What players of subtitles read as style or place."""


@dataclass(frozen=True)
class Panel:
    """What is known of one shot beside the script: its picture, where it comes from, what the critic said, and
    the frames it said it of."""

    picture: Path | None
    source: str
    verdict: str = ""
    notes: Sequence[str] = ()
    sheet: Path | None = None


def storyboard_html(
    script: Script, timeline: Timeline, panels: Mapping[str, Panel], sheets: Mapping[str, Sequence[Path]] | None = None
) -> str:
    """A self-contained page: the cast with its references (`sheets`, by entity), then frame, shot, size, action, dialogue, seconds,
    verdict. Everything is escaped."""
    names = {entity.id: entity.name for entity in script.entities}
    given = [picture for panel in panels.values() for picture in (panel.picture, panel.sheet) if picture is not None]
    most = PICTURE_CHARACTERS // max(1, len(given) + sum(map(len, (sheets or {}).values())))
    scenes: list[dict[str, Any]] = []
    for scene in script.scenes:
        shots = []
        for shot in scene.shots:
            panel = panels.get(shot.id, Panel(None, "not drawn yet"))
            timing = timeline.of(shot.id)
            shots.append(
                {
                    "shot": shot,
                    "timing": timing,
                    "image": embedded_picture(panel.picture, most),
                    "source": panel.source,
                    "verdict": panel.verdict,
                    "sheet": embedded_picture(panel.sheet, most),
                    "notes": [*panel.notes, *([shot.notes] if shot.notes else [])],
                    "cast": ", ".join(names[e] for e in shot.entities),
                    "lines": [
                        (names[line.speaker] if line.speaker else "voice-over", line.text) for line in shot.lines
                    ],
                }
            )
        scenes.append({"scene": scene, "place": names[scene.location], "shots": shots})
    cast = [
        {
            "entity": entity,
            "images": [image for path in (sheets or {}).get(entity.id, ()) if (image := embedded_picture(path, most))],
        }
        for entity in script.entities
        if entity.kind == "character"
    ]
    return render_page("storyboard.html.j2", script=script, timeline=timeline, scenes=scenes, cast=cast)


def _stamp(seconds: float) -> str:
    millis = round(seconds * 1000)
    hours, millis = divmod(millis, 3_600_000)
    minutes, millis = divmod(millis, 60_000)
    whole, millis = divmod(millis, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d},{millis:03d}"


@dataclass(frozen=True)
class Subtitle:
    start_seconds: float
    end_seconds: float
    text: str


def subtitle_text(text: str) -> str:
    """A text as a subtitle may say it: one line, without control characters, markup, or what divides cues."""
    plain = without_unsafe(text)
    while (bare := MARKUP.sub("", plain)) != plain:  # what stood around markup may be markup in its turn
        plain = bare
    return " ".join(re.sub(r"\{\\+", "{", plain).replace("-->", "→").split())


def subtitles(script: Script, timeline: Timeline) -> list[Subtitle]:
    """Every line, shared out over its shot by length."""
    names = {entity.id: entity.name for entity in script.entities}
    found = []
    for shot in script.shots():
        if not shot.lines:
            continue
        timing = timeline.of(shot.id)
        start = timing.cut_frame / timeline.fps
        room = timing.seconds - min(DIALOGUE_LEAD_SECONDS, timing.seconds / 4)
        at = start + timing.seconds - room
        total = sum(len(line.text) for line in shot.lines)
        for line in shot.lines:
            length = room * len(line.text) / total
            text = f"{names[line.speaker]}: {line.text}" if line.speaker else line.text
            if subtitle_text(line.text):
                found.append(Subtitle(at, at + length, subtitle_text(text)))
            at += length
    return found


def srt(script: Script, timeline: Timeline) -> str:
    """The film's subtitles as SubRip text."""
    return "".join(
        f"{number}\n{_stamp(s.start_seconds)} --> {_stamp(s.end_seconds)}\n{s.text}\n\n"
        for number, s in enumerate(subtitles(script, timeline), 1)
    )
