"""Tables and lines for people."""

from __future__ import annotations

import json
from textwrap import wrap
from typing import Any

from ..evaluation.arm import arms_of
from ..storyboard.plain_text import flat, one_line
from ..storyboard.script import Script
from ..storyboard.stage import REGISTRY
from ..templates.script_template import ScriptTemplate


def status_table(found: dict[str, Any]) -> str:
    found = flat(found)
    lines = [f"{found['title']} · {found['seconds']:.2f} s · {found['generator']} · {found['folder']}"]
    states = [
        f"stale ({', '.join(shot['why'])})" if shot["state"] == "stale" else shot["state"] for shot in found["shots"]
    ]
    width = max(map(len, states), default=0)
    for shot, state in zip(found["shots"], states, strict=True):
        score = f"{shot['score']:.2f}" if shot["score"] is not None else "    "
        take = f"take {shot['take']}" if shot["take"] else ""
        said = (
            f" · {shot['verdict']}"
            if shot["verdict"] and (shot["looked"] or not shot["verdict"].startswith(("continue", "ask")))
            else ""
        )
        lines.append(
            f"{shot['position']:>4}  {shot['shot']:<6} {shot['size']:<4} {shot['seconds']:>6.2f} s  {state:<{width}}  {take:<8}{score}  {shot['action'][:60]}{said}"
        )
        lines += [f"        {note}" for note in _shot_notes(shot)]
    old = (
        ""
        if found["film_current"]
        else f" (an older cut: 'filmwright cut {found['folder']}' joins what is circled now)"
    )
    lines.append(f"film: {found['film']}{old}" if found["film"] else "film: not cut yet")
    return "\n".join(lines)


def _shot_notes(shot: dict[str, Any]) -> list[str]:
    """What is to be known of a shot beside its line."""
    notes = list(shot["notes"])
    notes += [f"the critic asks for a person: {reason}" for reason in shot["asks"]]
    if shot["current_takes"]:
        names = ", ".join(map(str, shot["current_takes"]))
        notes.append(
            f"take {names} shows what the script asks for, but you circled take {shot['take']}"
            if shot["circled_by"] == "person"
            else f"take {names} shows what the script asks for: it will be circled"
        )
    elif shot["circled_by"] == "person":
        notes.append(f"take {shot['take']} is the one you circled")
    return notes


def dry_run_table(found: dict[str, Any]) -> str:
    """What shooting would do, and what it would cost."""
    found = flat(found)
    if "plan" in found:
        return "\n".join([f"would plan the story first, by {found['plan']}", *_costs(found)])
    lines = []
    for shot in found["shoot"]:
        how = (
            f"take {shot['continues']} goes on for {_count(shot['chunks'], 'chunk')}"
            if shot["continues"]
            else _count(shot["chunks"], "chunk")
        )
        lines.append(f"{shot['position']:>4}  {shot['shot']:<6} {', '.join(shot['why'])}: {how}")
    lines += [f"      {c['shot']:<6} take {c['take']} shows it already: it is circled" for c in found["circle"]]
    seconds = found["estimated_seconds"]
    guess = "time unknown before the first take" if seconds is None else f"about {seconds:.0f} s"
    total = (
        f"to shoot: {_count(len(found['shoot']), 'shot')}, {_count(found['chunks'], 'chunk')}, {guess}"
        if found["shoot"]
        else "nothing to shoot"
    )
    return "\n".join([*lines, total, *_costs(found)])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _costs(found: dict[str, Any]) -> list[str]:
    """Every paid model in a line, and the sum."""
    if not found["models"]:
        return ["no paid model is asked"]
    lines = []
    for model in found["models"]:
        tokens = f", {model['sent_tokens']} + {model['received_tokens']} tokens" if not model["pictures"] else ""
        dollars = "price unknown: say --price" if model["dollars"] is None else f"about {model['dollars']:.4f} dollars"
        lines.append(
            f"{model['role']} {model['model']}: about {_count(model['calls'], 'call')}{tokens}, {dollars} (after {model['after']})"
        )
    return lines


def check_table(found: dict[str, Any]) -> str:
    found = flat(found)
    lines = [
        f"{found['title']}: {len(found['shots'])} shots, {found['seconds']:.2f} s ({found['planned_seconds']:.2f} s planned), {found['frames']} frames at {found['fps']} fps"
    ]
    for shot in found["shots"]:
        lines.append(
            f"{shot['position']:>4}  {shot['shot']:<6} {shot['planned_seconds']:>6.2f} s -> {shot['seconds']:.2f} s ({shot['chunks']} chunks), cut at frame {shot['cut_frame']}, line {shot['line']}"
        )
        for change in shot["prompt_changes"]:
            lines.append(
                f"{'':12}at {change['at_seconds']:g} s, from chunk {change['chunk'] + 1} on: {change['action'][:80]}"
            )
    lines += found["notes"]
    return "\n".join(lines)


def template_text(template: ScriptTemplate) -> str:
    """A template for reading."""
    lines = [
        one_line(text)
        for text in (f"{template.title} ({template.name})", template.description, f"look: {template.style}")
    ]
    if template.seconds:
        lines.append(f"length: {template.seconds:g} s when nobody says another")
    if template.parameters:
        lines += ["", "parameters (--set NAME=VALUE):"]
        lines += [f"  {name:<18} {one_line(p.help)} (now {p.default!r})" for name, p in template.parameters.items()]
    lines += ["", "story beats:"]
    for act in template.acts:
        lines += [f"  {act.name}"] if len(template.acts) > 1 else []
        lines += [f"    {b.name:<16} {b.share:>4.0%}  {one_line(b.summary)} [{' '.join(b.pattern)}]" for b in act.beats]
    lines += ["", f"shots of about {template.shot_seconds:g} s:"]
    lines += [
        f"  {role:<10} sizes {', '.join(grammar.sizes)}; movements {', '.join(grammar.movements)}; length x {grammar.weight:g}"
        for role, grammar in template.grammar.items()
    ]
    if template.guidance:
        lines += [
            "",
            "a language model is told:",
            *(f"  {line}" for line in wrap(" ".join(template.guidance.split()), 100)),
        ]
    return "\n".join(lines)


def shots_text(script: Script) -> str:
    """A script's shots for reading."""
    lines = [f"“{one_line(script.title)}”, as the rules plan it ({script.seconds():.1f} s):"]
    for shot in script.shots():
        lines.append(
            f"  {shot.id:<4} {shot.seconds:>5.2f} s  {shot.size:<4} {shot.movement:<10} {one_line(shot.action)[:90]}"
        )
    return "\n".join(lines)


def tryout_table(found: list[dict[str, Any]]) -> str:
    """How a template did on the example stories."""
    lines = []
    for one in found:
        lines.append(
            f"{one['story']}: {one['shots']} shots, {one['seconds']:g} of {one['asked_seconds']:g} s, {one['coverage']:.0%} of the beats have a shot"
        )
        lines += [f"  {name:<18} asked {b['asked']:>4.0%}, got {b['got']:>4.0%}" for name, b in one["beats"].items()]
    return "\n".join(lines)


def models_found() -> list[dict[str, Any]]:
    """Every registered generator, and whether its weights are here."""
    from pathlib import Path

    weights = Path(__file__).parent.parent / "generator" / "weights"
    found = []
    for name in REGISTRY:
        profile = weights / name / "profile.json"
        if name == "theatre":
            found.append(
                {
                    "name": name,
                    "here": True,
                    "says": "the paper theatre: draws the script itself, 832x480; the test oracle",
                }
            )
        elif profile.is_file():
            p = json.loads(profile.read_text(encoding="utf-8"))
            says = f"bundled, {p['width']}x{p['height']} at {p['fps']} fps, delivered x{p.get('enlarge', 4)}, memory {p['memory']}, {p['licence']}"
            found.append({"name": name, "here": True, "says": says})
        else:
            found.append({"name": name, "here": False, "says": f"not bundled yet: 'filmwright train {name}' makes it"})
    return found


def published_found() -> list[dict[str, Any]]:
    """Weights of others that can be fetched."""
    from ..generator.published import PUBLISHED

    return [
        {"name": name, "repository": known.repository, "says": f"{known.says} ({known.repository})"}
        for name, known in PUBLISHED.items()
    ]


def weights_table(found: dict[str, Any]) -> str:
    """What `models check` found."""
    clip = "a CLIP" if found["clip"] else "no CLIP"
    return "\n".join(
        [
            f"{found['name']}: {found['parameters'] / 1e6:.2f} M parameters in {found['tensors']} tensors, {found['layers']} layers, {found['heads']} heads of {found['head_width']}",
            f"licence {found['licence']}; memory {found['memory']}; trained span {found['trained_span'] or 'not stated'}; {found['autoencoder']}, {clip}",
            f"one chunk of 64x64 pixels: {found['chunk_frames']} frames in {found['chunk_seconds']} s, {found['dtype']} on {found['device']}",
        ]
    )


def evaluation_table(found: dict[str, Any]) -> str:
    lines = [
        f"{found['generator']}, memory {found['memory']}: {found['films']} {found['split']} films, {found['frames_per_second']} frames/s on {found['threads']} threads",
        f"scored by {found['scored_by']}", "",
        f"{'':32} {'made':>7}  {'95 % interval':>15}   {'on truth':>8}  asked",
    ]  # fmt: skip
    for name, rate in found["made"].items():
        truth = f"{found['truth'][name]['rate']:.1%}" if name in found["truth"] else "–"
        lines.append(
            f"{name:32} {rate['rate']:>7.1%}  {rate['low']:>6.1%} … {rate['high']:>6.1%}   {truth:>8}  {rate['asked']:.0f}"
        )
    return "\n".join(lines)


def references_table(found: dict[str, Any]) -> str:
    """What `evaluate references` found."""
    lines = [
        f"{found['generator']}, memory {found['memory']}: {found['films']} {found['split']} shots; hue by chance {found['chance_of_hue']:.1%}",
        f"scored by {found['scored_by']}", "",
        f"{'':8} {'pinned':>7}  {'95 % interval':>17}   {'not pinned':>10}   {'on truth':>8}",
    ]  # fmt: skip
    for name, rate in found["pinned"].items():
        low, high = rate["low"], rate["high"]
        lines.append(
            f"{name:8} {rate['rate']:>7.1%}  {low:>7.1%} … {high:>6.1%}   {found['unpinned'][name]['rate']:>10.1%}   {found['truth'][name]['rate']:>8.1%}"
        )
    return "\n".join(lines)


def truth_table(found: dict[str, Any]) -> str:
    """Accuracy of every reader, and what it takes for what."""
    lines = [
        f"readers of {found['weights']} on {found['shots']} {found['split']} shots",
        "",
        f"{'':10} {'rendered':>9}  {'encoded':>8}  asked   most often mistaken (rendered)",
    ]
    for name, rendered in found["rendered"].items():
        wrong = [
            (count, true, read)
            for true, row in rendered["confusion"].items()
            for read, count in row.items()
            if read != true
        ]
        said = ", ".join(f"{true} for {read} {count}x" for count, true, read in sorted(wrong, reverse=True)[:3])
        lines.append(
            f"{name:10} {rendered['rate']:>9.1%}  {found['encoded'][name]['rate']:>8.1%}  {rendered['asked']:>5}   {said}"
        )
    return "\n".join(lines)


def _with_interval(rate: dict[str, float] | None) -> str:
    if rate is None:
        return f"{'–':>22}"
    return f"{rate['rate']:>7.0%} ({rate['low']:>4.0%} – {rate['high']:>4.0%})"


def recall_table(found: dict[str, Any]) -> str:
    """Rates by gap, in latent frames."""
    every = [*found["gaps"].items(), ("truth", found["truth"])]
    names = list(dict.fromkeys(name for _, rates in every for name in rates))
    told = ", told what to recall" if found["oracle"] else ""
    lines = [
        f"{found['generator']}, memory {found['memory']}{told}: {found['films']} {found['split']} films for each gap",
        f"scored by {found['scored_by']}", "",
        f"{'gap':>10} " + " ".join(f"{name:>22}" for name in names),
    ]  # fmt: skip
    for gap, rates in every:
        row = " ".join(_with_interval(rates.get(name)) for name in names)
        lines.append(f"{int(gap) * 3 if gap != 'truth' else gap:>10} {row}")
    lines.append(
        f"{'chance':>10} hue {found['chance']['hue']:.0%}, pattern and accessory {found['chance']['pattern']:.0%}"
    )
    return "\n".join(lines)


def drift_table(found: dict[str, Any]) -> str:
    """Rates early and late."""
    early, last = found["early"], found["last"]
    lines = [
        f"{found['generator']}, memory {found['memory']}: {found['films']} {found['split']} films",
        f"scored by {found['scored_by']}", "",
        f"{'':6} {f'around chunk {early}':>22} {f'around chunk {last}':>22}",
    ]  # fmt: skip
    for name in dict.fromkeys(key.partition(" at ")[0] for key in found["made"]):
        both = (found["made"].get(f"{name} at {at}") for at in (early, last))
        lines.append(f"{name:6} " + " ".join(_with_interval(rate) for rate in both))
    errors = [found["error"][str(at)] for at in (early, last)]
    ratio = f", {found['ratio']:.2f} times as much" if found["ratio"] is not None else ""
    lines.append(f"wrong in the mean: {errors[0]:.1%} early, {errors[1]:.1%} late{ratio}")
    return "\n".join(lines)


def wear_table(found: dict[str, Any]) -> str:
    """Rates chunk by chunk; in brackets what the reader finds in the truth."""
    lines = [
        f"{found['generator']}, memory {found['memory']}: {found['films']} {found['split']} shots of {found['chunks']} chunks",
        f"scored by {found['scored_by']}", "",
        f"{'chunk':10} " + " ".join(f"{chunk + 1:>9}" for chunk in range(found["chunks"])),
    ]  # fmt: skip
    for name in dict.fromkeys(name for chunk in found["made"] for name in chunk):
        made, true = ([chunk[name]["rate"] for chunk in found[source]] for source in ("made", "truth"))
        lines.append(f"{name:10} " + " ".join(f"{f'{a:.0%} ({b:.0%})':>9}" for a, b in zip(made, true, strict=True)))
    lines.append(f"{'edges':10} " + " ".join(f"{ratio:>9.2f}" for ratio in found["edges"]) + "  against the truth's")
    return "\n".join(lines)


def flow_table(found: dict[str, Any]) -> str:
    """Loss by noise level, over the picture and over its puppets; after the first, how much less it is."""
    lines = [
        f"memory {found['memory']}: {found['films']} {found['split']} films of {found['chunks']} chunks, noise seed {found['seed']}",
        f"scored by {found['scored_by']}: picture / puppets",
    ]  # fmt: skip
    for weights in found["weights"]:
        cells = [f"{level}: {e['all']:.4f} / {e['puppets']:.4f}" for level, e in weights["levels"].items()]
        lines += ["", weights["generator"], "  " + "   ".join(cells)]
        if weights["less"] is not None:
            less = [
                f"{name} {d['part']:+.2%} ({d['low']:+.2%} … {d['high']:+.2%})" for name, d in weights["less"].items()
            ]
            lines.append("  less than the first: " + ", ".join(less))
    return "\n".join(lines)


def claims_table(found: dict[str, Any]) -> str:
    """What came out of the papers' claims."""
    lines = [f"{found['weights']}, {found['films']} films for each number; scored by {found['scored_by']}"]
    for claim in found["claims"].values():
        lines += ["", claim["says"]]
        for arm in arms_of(claim):
            for row in arm.rows:
                value, interval = row.written()
                lines.append(f"  {arm.name:34} {row.measure:40} {value:>6}  {interval or row.unit}")
    return "\n".join(lines)
