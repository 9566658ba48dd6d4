from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from filmwright.storyboard.errors import FilmwrightError
from filmwright.storyboard.stage import Frames
from filmwright.storyboard.video import Part, ShotEncoder, count_frames, join, read_frames, write_video


def flat(level: int, frames: int = 12) -> Frames:
    return np.full((frames, 32, 64, 3), level, dtype=np.uint8)


def levels(path: Path) -> list[int]:
    return [int(round(float(frame.mean()) / 20) * 20) for frame in read_frames(path)]


def test_shots_join_without_losing_a_frame(tmp_path: Path) -> None:
    for index, level in enumerate((40, 120, 200)):
        write_video(tmp_path / f"{index}.mp4", [flat(level)] * (index + 1), fps=16, width=64, height=32)
    total = join(tmp_path / "film.mp4", [Part(tmp_path / f"{i}.mp4", 12 * (i + 1)) for i in range(3)], fps=16)
    assert total == 72 == count_frames(tmp_path / "film.mp4")
    assert levels(tmp_path / "film.mp4") == [40] * 12 + [120] * 24 + [200] * 36


@pytest.mark.parametrize("frames", [1, 7, 12, 13, 36])
def test_a_trimmed_shot_has_its_first_frames_and_no_others(tmp_path: Path, frames: int) -> None:
    write_video(tmp_path / "long.mp4", [flat(40), flat(120), flat(200)], fps=16, width=64, height=32)
    write_video(tmp_path / "next.mp4", [flat(80)], fps=16, width=64, height=32)
    assert (
        join(tmp_path / "film.mp4", [Part(tmp_path / "long.mp4", frames), Part(tmp_path / "next.mp4", 12)], fps=16)
        == frames + 12
    )
    assert levels(tmp_path / "film.mp4") == levels(tmp_path / "long.mp4")[:frames] + [80] * 12


def test_dropped_chunks_leave_no_trace(tmp_path: Path) -> None:
    encoder = ShotEncoder(fps=16, width=64, height=32)
    for level in (40, 200, 200):
        encoder.add(flat(level))
    encoder.drop(2)
    encoder.add(flat(120))
    assert encoder.save(tmp_path / "shot.mp4") == 24
    assert levels(tmp_path / "shot.mp4") == [40] * 12 + [120] * 12


def test_small_frames_are_enlarged(tmp_path: Path) -> None:
    write_video(tmp_path / "shot.mp4", [flat(40)], fps=16, width=256, height=128)
    assert next(read_frames(tmp_path / "shot.mp4")).shape == (128, 256, 3)


def test_a_damaged_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "shot.mp4").write_bytes(b"not a video")
    with pytest.raises(FilmwrightError, match=r"shot\.mp4 is no readable video"):
        count_frames(tmp_path / "shot.mp4")


def test_a_failed_write_leaves_the_old_film_whole(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [flat(40)], fps=16, width=64, height=32)
    join(tmp_path / "film.mp4", [Part(tmp_path / "a.mp4", 12)], fps=16)
    (tmp_path / "b.mp4").write_bytes(b"broken")
    with pytest.raises(FilmwrightError):
        join(tmp_path / "film.mp4", [Part(tmp_path / "a.mp4", 12), Part(tmp_path / "b.mp4", 12)], fps=16)
    assert count_frames(tmp_path / "film.mp4") == 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4", "film.mp4"]
