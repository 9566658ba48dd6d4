"""What planning by a language model takes, and what it survives: tokens, calls and seconds per film minute, and how many plans are valid
with a model that breaks a share of its answers. The model is the tests' author: its words are canned, the calls and checks are real.

python benchmarks/planner.py [share of broken answers] [plans]
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filmwright.agents.models.language import BadAnswer, Completion, Message, Usage
from filmwright.agents.writer.desk import PassReport
from filmwright.agents.writer.planner import ModelPlanner
from filmwright.agents.writer.store import PassStore
from filmwright.storyboard.vocabulary import FULL
from filmwright.templates.loader import load_template, template_names
from filmwright.tests.model_server import author

STORIES = sorted((Path(__file__).parent.parent / "tests" / "stories").glob("*.txt"))
CHARACTERS_OF_TOKEN = 4


class Breaking:
    """A model that answers well but for a share of its answers, which are broken in one of three ways."""

    name = "benchmark:author"

    def __init__(self, share: float, seed: int) -> None:
        self.usage = Usage()
        self._share, self._random = share, random.Random(seed)

    def complete(self, messages: Sequence[Message], schema: dict[str, Any], images: Sequence[bytes] = ()) -> Completion:
        said = "\n".join(m.text for m in messages)
        text = json.dumps(author(schema["title"], said), ensure_ascii=False)
        if self._random.random() < self._share:
            text = self._random.choice(["I would rather not.", "{}", text[: len(text) // 2]])
        usage = Usage(1, len(said) // CHARACTERS_OF_TOKEN, len(text) // CHARACTERS_OF_TOKEN)
        self.usage = self.usage + usage
        return Completion(text, usage)


def main(share: str = "0.3", plans: str = "160") -> None:
    names = template_names()
    once = repaired = refused = passes = 0
    usage, minutes, spent = Usage(), 0.0, 0.0
    for number in range(int(plans)):
        template, story = load_template(names[number % len(names)]), STORIES[number % len(STORIES)]
        reports: list[PassReport] = []
        model = Breaking(float(share), number)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            planner = ModelPlanner(model, PassStore(Path(folder)), FULL, reports.append)
            try:
                script = planner.plan(story.read_text(encoding="utf-8"), template=template, seconds=60.0, seed=number)
                once += not any(r.repaired for r in reports)
                repaired += any(r.repaired for r in reports)
                minutes += script.seconds() / 60
                usage, spent = usage + model.usage, spent + time.perf_counter() - began
            except BadAnswer:
                refused += 1
        passes += len(reports)
    print(
        json.dumps(
            {
                "plans": int(plans), "broken_answers": float(share), "valid_at_once": once, "valid_after_repair": repaired,
                "ended_in_a_clear_error": refused, "passes": passes,
                "per_film_minute": {
                    "calls": round(usage.calls / minutes, 1), "sent_tokens": round(usage.sent / minutes),
                    "received_tokens": round(usage.received / minutes), "own_seconds": round(spent / minutes, 2),
                },
            },
            indent=1,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
