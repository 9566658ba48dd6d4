"""What an editing program is handed, opened by the library that such programs use."""

from __future__ import annotations

import shutil
from pathlib import Path

import opentimelineio
import pytest
from filmwright.cli import app
from filmwright.storyboard.production import Production
from filmwright.storyboard.video import count_frames
from typer.testing import CliRunner


def run(*arguments: object, code: int = 0) -> None:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output


@pytest.fixture
def made(tmp_path: Path, story: str) -> Path:
    run("film", story, "--generator", "theatre", "-o", "film", "--seconds", "4")
    return tmp_path / "film"


def opened(folder: Path) -> list[opentimelineio.schema.Clip]:
    timeline = opentimelineio.adapters.read_from_file(str(folder / "film.otio"))
    assert timeline.duration().value == count_frames(folder / "film.mp4")
    return list(timeline.find_clips())


def test_the_cut_has_a_clip_for_every_shot_and_its_take_beside_it(made: Path) -> None:
    script = Production.open(made).read_script()
    clips = opened(made)
    assert [clip.name for clip in clips] == [shot.id for shot in script.shots()]
    for clip in clips:
        video = made / clip.media_reference.target_url
        assert count_frames(video) == clip.source_range.duration.value
        assert clip.metadata["filmwright"]["size"]
    (track,) = opentimelineio.adapters.read_from_file(str(made / "film.otio")).video_tracks()
    spoken = [marker for marker in track.markers if "What a fine bird you are" in marker.name]
    assert len(spoken) == sum("What a fine bird" in line.text for shot in script.shots() for line in shot.lines)


def test_all_takes_are_there_and_the_circled_one_is_active(made: Path) -> None:
    first = next(Production.open(made).read_script().shots()).id
    run("shoot", made, "--shots", "1", "--again")
    run("circle", made, first, "1")
    run("cut", made)
    clip = opened(made)[0]
    assert set(clip.media_references()) == {"take 1", "take 2"}
    assert clip.active_media_reference_key == "take 1"


def test_a_title_card_is_a_gap_and_a_missing_shot_says_so(made: Path) -> None:
    production = Production.open(made)
    script = production.read_script()
    script.titles = True
    production.write_script(script)
    lost = [shot.id for shot in script.shots()][-1]
    shutil.rmtree(made / "takes" / lost)
    run("cut", made, code=1)  # a shot is missing
    clips = opened(made)
    assert isinstance(clips[-1].media_reference, opentimelineio.schema.MissingReference)
    timeline = opentimelineio.adapters.read_from_file(str(made / "film.otio"))
    assert timeline.video_tracks()[0][0].duration().value == 32  # two seconds at 16 frames per second
