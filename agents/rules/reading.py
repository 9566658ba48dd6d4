"""Reads a story: title, sentences, speakers, recurring characters, props, places and times of day.

English patterns; other languages keep their text and fall back to repeated capitalised names. Pronouns never make a
character: they point back to the last one named.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from ...storyboard.lexicon import ACTION_OF, KIND_OF, PROP_WORDS, SET_OF, TIME_OF, singular, words_of

SPEECH_VERBS = "|".join(sorted(word for word, action in ACTION_OF.items() if action == "talks"))
PRONOUNS = {
    "he",
    "she",
    "it",
    "they",
    "him",
    "her",
    "them",
    "his",
    "hers",
    "its",
    "their",
    "himself",
    "herself",
    "themselves",
}
NOT_NAMES = {
    "i", "a", "an", "the", "and", "but", "so", "then", "when", "while", "once", "one", "at", "in", "on", "as", "if", "no", "yes",
    "now", "soon", "there", "that", "this", "every", "after", "before", "all", "what", "who", "why", "how", "where", "of", "to",
    "god", "mr", "mrs", "miss", "dr", "sir", "oh", "well", "please", "not", "for", "from", "with", "or", "you", "we", "my", "your",
    "our", "let", "only", "even", "because", "far", "up", "down", "by", "two", "three", "each", "both", "still", "just", "never",
    "perhaps", "suddenly", "finally", "later", "today", "tomorrow", "next", "meanwhile", "first", "last", "long", "slow", "good",
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "end", "be", "come", "look", "give", "take",
    "nobody", "everyone", "somebody", "someone", "nothing", "some", "many", "most", "another", "more", "until", "since", "inside",
    *PRONOUNS,
}  # fmt: skip
LOCATIVES = {
    "in", "into", "to", "at", "on", "onto", "through", "by", "near", "inside", "across", "under", "beside", "toward", "towards",
    "along", "over", "behind", "upon", "reached", "entered",
}  # fmt: skip
PREPOSITIONS = LOCATIVES | {"from", "of", "out", "with", "for", "about", "left"}
SMALL_PLACES = {
    "table",
    "bed",
    "tree",
    "grass",
    "water",
    "oven",
    "cupboard",
    "bush",
    "bank",
    "hearth",
    "gate",
    "path",
    "road",
    "well",
}
"""Places inside a place: they name a location only where the story gives no larger one."""
CLOSE = '"”“»」』'
QUOTE = re.compile(r"[\"“„«「『]([^\"”“»」』]{1,1800})[\"”“»」』]")
ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr)\.$")


@dataclass(frozen=True)
class Utterance:
    speaker: str | None
    text: str


@dataclass
class Sentence:
    """One sentence with what was found in it; `cast` holds character keys in order."""

    text: str
    cast: list[str] = field(default_factory=list)
    props: list[str] = field(default_factory=list)
    place: str = ""
    time: str = "day"
    lines: list[Utterance] = field(default_factory=list)


@dataclass
class Reading:
    """What the rules found in a story.

    Keys of characters, props and places are lower-case words; `characters` maps them to names, `nouns` named ones to what
    the story says they are.
    """

    title: str
    sentences: list[Sentence]
    characters: dict[str, str]
    nouns: dict[str, str]
    props: list[str]
    places: list[str]


def split_title(story: str) -> tuple[str, str]:
    """The title, if the first line looks like one, and the rest."""
    lines = story.strip().splitlines()
    first = lines[0].strip().lstrip("#").strip()
    heading = lines[0].lstrip().startswith("#") or (len(lines) > 1 and not lines[1].strip())
    if len(lines) > 1 and heading and 0 < len(first) <= 80 and first[-1] not in '.!?。！？"”':
        return first, "\n".join(lines[1:])
    return "", story


def split_sentences(text: str) -> list[str]:
    """Sentences of a text; a quotation stays in one piece with the words that introduce it."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        flat = " ".join(paragraph.split())
        start, depth = 0, False
        index = 0
        while index < len(flat):
            char = flat[index]
            if char == '"':
                depth = not depth
            elif char in "“„«「『":
                depth = True
            elif char in "”»」』":
                depth = False
            if (char in ".!?…。！？" and not depth) or (
                char in CLOSE and not depth and flat[index - 1 : index] in tuple(".!?…。！？")
            ):
                end = index + 1
                while end < len(flat) and flat[end] in ".!?…。！？'’)":
                    end += 1
                ideographic = char in "。！？"
                following = flat[end : end + 2].strip()
                at_end = end >= len(flat) or (
                    (flat[end] == " " or ideographic)
                    and (not following[:1].islower())
                    and not ABBREVIATION.search(flat[start:end])
                )
                if at_end:
                    found.append(flat[start:end].strip())
                    start = end
                index = end
                continue
            index += 1
        if flat[start:].strip():
            found.append(flat[start:].strip())
    return [sentence for sentence in found if any(c.isalnum() for c in sentence)]


def _without_quotes(text: str) -> str:
    return QUOTE.sub(" ", text)


def _names(sentences: list[str]) -> dict[str, int]:
    """Capitalised words that behave like names: repeated, and at least once inside a sentence."""
    inside: Counter[str] = Counter()
    starting: Counter[str] = Counter()
    lower = {word for sentence in sentences for word in re.findall(r"\b[a-z][\w'-]+", sentence)}
    for sentence in sentences:
        words = re.findall(r"[^\W\d_][\w'-]*", _without_quotes(sentence))
        for index, word in enumerate(words):
            bare = word.removesuffix("'s").removesuffix("’s")
            if (
                not bare[0].isupper()
                or bare.lower() in NOT_NAMES
                or (bare.isupper() and len(bare) > 3)
                or bare.lower() in lower
            ):
                continue
            (starting if index == 0 else inside)[bare] += 1
    return {
        name: inside[name] + starting[name]
        for name in inside | starting
        if len(name) > 1 and inside[name] + starting[name] >= 2 and (inside[name] or starting[name] >= 2)
    }


def _noun_mentions(text: str) -> list[tuple[int, str]]:
    """(place in the text, key) of every known character noun."""
    found = []
    for match in re.finditer(r"[A-Za-z][A-Za-z'-]*", text):
        word = match[0].lower().removesuffix("'s")
        key = word if word in KIND_OF else singular(word)
        if key in KIND_OF:
            found.append((match.start(), key))
    return found


def _aliases(text: str, names: dict[str, int]) -> dict[str, str]:
    """Noun -> name where the story says they are one: 'Anansi the spider', 'a boy named Taro', 'the king, Midas'."""
    aliases = {}
    for name in names:
        for pattern in (
            rf"\b{re.escape(name)}\s+(?:the|a|an)\s+([a-z]+)\b",
            rf"\b{re.escape(name)},\s+(?:the|a|an)\s+([a-z]+)[,.]",
            rf"\b(?:the|a|an)\s+([a-z]+)\s+{re.escape(name)}\b",
            rf"\b([a-z]+)\s+(?:named|called)\s+(?:him\s+|her\s+|it\s+)?{re.escape(name)}\b",
            rf"\b(?:the|a|an)\s+([a-z]+),\s+{re.escape(name)}\b",
        ):
            for match in re.finditer(pattern, text):
                key = match[1] if match[1] in KIND_OF else singular(match[1])
                if key in KIND_OF and key not in aliases:
                    aliases[key] = name.lower()
    return aliases


def read_story(story: str) -> Reading:
    """Finds what a film needs in a story."""
    title, body = split_title(story)
    texts = split_sentences(body)
    names = {name: count for name, count in _names(texts).items() if singular(name.lower()) not in SET_OF}
    aliases = _aliases(body, names)
    counts: Counter[str] = Counter()
    labels: dict[str, str] = {name.lower(): name for name in names}
    for text in texts:
        for _, key in _noun_mentions(text):
            counts[aliases.get(key, key)] += 1
    for name, count in names.items():
        counts[name.lower()] += count
    keys = [key for key, count in counts.most_common() if count >= 2][:6] or [key for key, _ in counts.most_common(2)]
    characters = {key: labels.get(key, key) for key in keys}
    prop_counts = Counter(singular(w) for t in texts for w in words_of(t) if singular(w) in PROP_WORDS)
    props = [prop for prop, count in prop_counts.most_common(3) if count >= 2]
    sentences: list[Sentence] = []
    place, time = "", "day"
    last: list[str] = []
    places: list[str] = []
    for text in texts:
        sentence = Sentence(text)
        plain = _without_quotes(text)
        sentence.cast = _mentioned(plain, characters, aliases)
        spoken = set(words_of(plain))
        if not sentence.cast and spoken & PRONOUNS:
            sentence.cast = list(last)
        sentence.props = [prop for prop in props if prop in {singular(w) for w in spoken}]
        place = _place(plain, place)
        time = next((TIME_OF[w] for w in words_of(plain) if w in TIME_OF), time)
        sentence.place, sentence.time = place, time
        sentence.lines = _lines(text, characters, aliases, sentence.cast or last)
        for line in sentence.lines:
            if line.speaker and line.speaker not in sentence.cast:
                sentence.cast.append(line.speaker)
        last = sentence.cast or last
        if place and place not in places:
            places.append(place)
        sentences.append(sentence)
    first = next((s.place for s in sentences if s.place), "")
    for sentence in sentences:
        if sentence.place:
            break
        sentence.place = first
    nouns: dict[str, str] = {}
    for noun, name in aliases.items():
        nouns.setdefault(name, noun)
    return Reading(title, sentences, characters, nouns, props, places)


def _place(text: str, current: str) -> str:
    """Where a sentence leads: a known place after a preposition of place; the current one if it stays in its set."""
    words = words_of(text)
    found = []
    for index, word in enumerate(words):
        key = word if word in SET_OF else singular(word)
        if key in SET_OF:
            leading = next((w for w in reversed(words[max(0, index - 4) : index]) if w in PREPOSITIONS), None)
            if leading in LOCATIVES:
                found.append(key)
    large = [key for key in found if key not in SMALL_PLACES]
    new = (large or found or [current])[0]
    if current and SET_OF[new] == SET_OF[current] and (new in SMALL_PLACES or current not in SMALL_PLACES):
        return current
    return current if current and new in SMALL_PLACES else new


def _mentioned(text: str, characters: dict[str, str], aliases: dict[str, str]) -> list[str]:
    """Keys of the characters a text names, in order, each once."""
    found = [(at, aliases.get(key, key)) for at, key in _noun_mentions(text)]
    for key, label in characters.items():
        if label != key:
            found += [(match.start(), key) for match in re.finditer(rf"\b{re.escape(label)}\b", text)]
    return list(dict.fromkeys(key for _, key in sorted(found) if key in characters))


def _lines(text: str, characters: dict[str, str], aliases: dict[str, str], fallback: list[str]) -> list[Utterance]:
    """The quotations of a sentence and who speaks them."""
    speaker = None
    plain = QUOTE.sub(" ¶ ", text)
    for pattern in (rf"\b(?:{SPEECH_VERBS})\s+([^¶,.;:!?]{{1,60}})", rf"([^¶.;:!?]{{1,80}}?)\s+(?:{SPEECH_VERBS})\b"):
        for match in re.finditer(pattern, plain, re.IGNORECASE):
            named = _mentioned(match[1], characters, aliases)
            if named:
                speaker = named[0] if pattern.startswith(r"\b") else named[-1]
                break
        if speaker:
            break
    if speaker is None and fallback:
        speaker = fallback[0]
    return [Utterance(speaker, match[1].strip().rstrip(",")) for match in QUOTE.finditer(text) if match[1].strip(" ,.")]
