"""`film.otio`: the cut for an editing program, by OpenTimelineIO. One clip per shot; every whole take of a shot is a media reference of its
clip, the circled one active, so that an editor can change takes; lines are markers. Paths are relative to the file."""

from __future__ import annotations

from pathlib import Path

from opentimelineio import schema
from opentimelineio.opentime import RationalTime, TimeRange

from .exports import subtitles
from .production import Production
from .script import Script, Shot
from .takes import circled, read_take, take_folder, takes_of
from .timeline import ShotTiming, Timeline


def otio(production: Production, script: Script, timeline: Timeline, *, title_frames: int = 0) -> str:
    """The cut as OTIO JSON; `title_frames`: of the title card, which stands as a gap at the beginning."""
    rate = timeline.fps

    def span(start: float, frames: float) -> TimeRange:
        return TimeRange(RationalTime(start, rate), RationalTime(frames, rate))

    track = schema.Track("shots", kind=schema.TrackKind.Video)
    if title_frames:
        track.append(schema.Gap(name="title card", duration=RationalTime(title_frames, rate)))
    for shot, timing in zip(script.shots(), timeline.shots, strict=True):
        track.append(_clip(production, shot, timing, span(0, timing.frames)))
    for line in subtitles(script, timeline):
        start = title_frames + round(line.start_seconds * rate)
        frames = round((line.end_seconds - line.start_seconds) * rate)
        track.markers.append(schema.Marker(name=line.text, marked_range=span(start, frames)))
    whole = schema.Timeline(script.title, [track], metadata={"filmwright": {"logline": script.logline}})
    text: str = whole.to_json_string(indent=1)
    return text + "\n"


def _clip(production: Production, shot: Shot, timing: ShotTiming, length: TimeRange) -> schema.Clip:
    told = {
        "action": shot.action, "size": shot.size, "angle": shot.angle, "movement": shot.movement, "notes": shot.notes,
        "transition_in": shot.transition_in,
    }  # fmt: skip
    clip = schema.Clip(shot.id, source_range=length, metadata={"filmwright": told})
    takes = {}
    for number in takes_of(production, shot.id):
        record = read_take(production, shot.id, number)
        video = take_folder(production, shot.id, number) / "frames.mp4"
        if record is None or not video.is_file():
            continue
        where = Path(video).relative_to(production.folder).as_posix()
        made = {"weights": record.weights, "licence": record.licence, "seed": record.seed, "score": record.score}
        whole = TimeRange(RationalTime(0, length.duration.rate), RationalTime(record.frames, length.duration.rate))
        takes[f"take {number}"] = schema.ExternalReference(where, whole, {"filmwright": made})
    chosen = circled(production, shot.id)
    active = f"take {chosen.take}" if chosen is not None else ""
    if active in takes:
        clip.set_media_references(takes, active)
    else:
        clip.media_reference = schema.MissingReference(name="no usable take")
    return clip
