"""Words of stories and what they mean to the paper theatre: English nouns, verbs and settings.

Used by the `rules` planner to find characters and places, and by `staging.py` to map any script onto the closed
vocabulary. All lower case, singular.
"""

KIND_WORDS: dict[str, tuple[str, ...]] = {
    "rabbit": ("rabbit", "hare", "bunny", "squirrel", "mouse", "rat", "hedgehog", "guinea"),
    "bear": ("bear", "lion", "ox", "pig", "elephant", "ogre", "giant", "troll", "boar", "gorilla", "panda", "oni", "demon", "buffalo"),
    "bird": ("bird", "crow", "raven", "duck", "duckling", "swan", "hen", "rooster", "cock", "goose", "owl", "nightingale", "sparrow", "pheasant", "eagle", "crane", "stork", "dove", "swallow", "chicken", "parrot", "hornet", "bee", "butterfly", "fairy"),
    "fox": ("fox", "wolf", "dog", "cat", "leopard", "tiger", "goat", "sheep", "lamb", "jackal", "monkey", "hyena", "kitten", "puppy", "hound"),
    "turtle": ("turtle", "tortoise", "snail", "frog", "toad", "crab", "beetle", "spider", "snake", "python", "fish", "ant"),
    "horse": ("horse", "pony", "donkey", "mule", "deer", "stag", "antelope", "camel", "zebra", "unicorn", "giraffe", "cow", "bull", "mare", "stallion", "foal", "llama"),
    "dragon": ("dragon", "dinosaur", "crocodile", "alligator", "lizard", "monster", "serpent", "wyvern"),
    "person": (
        "man", "woman", "boy", "girl", "child", "king", "queen", "prince", "princess", "farmer", "hunter", "fisherman", "wife",
        "husband", "mother", "father", "son", "daughter", "brother", "sister", "grandmother", "grandfather", "witch", "wizard",
        "soldier", "tailor", "shoemaker", "miller", "merchant", "keeper", "sailor", "captain", "woodcutter", "servant", "beggar",
        "emperor", "baby", "thief", "robber", "monk", "priest", "teacher", "stranger", "traveller", "elf", "dwarf", "god", "maid",
        "shepherd", "weaver", "baker", "blacksmith", "judge", "knight", "neighbour", "doctor", "cook", "villager", "chief",
        "stepmother", "nurse", "lady", "lord", "peasant", "spinner", "musician", "drummer", "dancer", "ghost", "robot", "seller",
    ),
}  # fmt: skip
"""Puppet kind -> the story's words it stands for; each word stands once, the first kind is not a default."""

SET_WORDS: dict[str, tuple[str, ...]] = {
    "forest": ("forest", "wood", "woods", "jungle", "tree", "grove", "cave", "mountain", "thicket", "bush"),
    "meadow": ("meadow", "field", "grass", "hill", "garden", "farm", "pasture", "valley", "road", "path", "plain", "orchard", "countryside", "desert"),
    "seashore": ("sea", "shore", "seashore", "beach", "ocean", "island", "river", "lake", "pond", "stream", "harbour", "boat", "ship", "lighthouse", "water", "well", "bank", "bridge"),
    "village": ("village", "town", "street", "market", "square", "city", "house", "hut", "church", "shop", "farmyard", "yard", "gate", "barn", "mill"),
    "castle": ("castle", "palace", "tower", "hall", "throne", "court", "fortress", "dungeon", "temple", "ballroom", "staircase"),
    "kitchen": ("kitchen", "home", "room", "cottage", "hearth", "table", "bed", "bedroom", "workshop", "cellar", "attic", "cupboard", "oven", "inn", "study", "chamber", "parlour"),
}  # fmt: skip

INTERIORS = ("castle", "kitchen")

TIME_WORDS: dict[str, tuple[str, ...]] = {
    "night": ("night", "midnight", "moon", "moonlight", "stars", "dark", "darkness", "asleep"),
    "evening": ("evening", "sunset", "dusk", "twilight", "supper", "sundown"),
    "day": ("day", "morning", "noon", "dawn", "afternoon", "sunrise", "sun", "daylight", "breakfast"),
}

ACTION_WORDS: dict[str, tuple[str, ...]] = {
    "sleeps": ("sleep", "slept", "nap", "napped", "snore", "snored", "doze", "dozed", "rest", "rested", "die", "died", "lay", "lie", "dream", "dreamed", "sink", "sank"),
    "runs": ("run", "ran", "race", "raced", "chase", "chased", "rush", "rushed", "hurry", "hurried", "flee", "fled", "escape", "escaped", "gallop", "dash", "dashed", "fly", "flew", "attack", "attacked", "fight", "fought", "burst"),
    "jumps": ("jump", "jumped", "leap", "leapt", "leaped", "hop", "hopped", "climb", "climbed", "fall", "fell", "bounce", "spring", "sprang", "throw", "threw", "pull", "pulled", "swing", "snatch", "snatched", "grab", "grabbed"),
    "walks": ("walk", "walked", "go", "went", "goes", "come", "came", "travel", "travelled", "wander", "wandered", "crawl", "crawled", "march", "marched", "follow", "followed", "return", "returned", "set", "left", "leave", "plod", "plodded", "arrive", "arrived", "pass", "passed", "move", "sail", "sailed", "swim", "swam", "enter", "entered", "crept", "creep", "row", "rowed"),
    "talks": ("say", "said", "says", "tell", "told", "ask", "asked", "cry", "cried", "call", "called", "shout", "shouted", "laugh", "laughed", "sing", "sang", "boast", "boasted", "reply", "replied", "answer", "answered", "beg", "begged", "whisper", "whispered", "promise", "promised", "thank", "thanked", "mock", "mocked", "warn", "warned", "flatter", "flattered", "agree", "agreed", "declare", "declared", "praise", "praised", "announce", "announced", "wept", "weep", "speak", "spoke", "offer", "offered"),
    "sits": ("sit", "sat", "seated", "kneel", "knelt", "crouch", "crouched", "perch", "perched"),
    "waves": ("wave", "waved", "greet", "greeted", "welcome", "welcomed", "beckon", "beckoned", "bow", "bowed", "farewell"),
    "dances": ("dance", "danced", "celebrate", "celebrated", "cheer", "cheered", "twirl", "twirled", "rejoice", "rejoiced"),
    "eats": ("eat", "ate", "eaten", "bite", "bit", "drink", "drank", "feast", "feasted", "taste", "tasted", "swallow", "swallowed", "gobble", "gobbled", "nibble", "nibbled", "chew", "chewed"),
    "carries": ("carry", "carried", "bring", "brought", "hold", "held", "take", "took", "lift", "lifted", "drag", "dragged", "bear", "bore"),
    "gives": ("give", "gave", "given", "hand", "handed", "share", "shared", "present", "presented", "deliver", "delivered"),
    "stands": ("stand", "stood", "wait", "waited", "watch", "watched", "look", "looked", "see", "saw", "live", "lived", "think", "thought", "was", "were", "is", "find", "found"),
}  # fmt: skip

WEATHER_WORDS: dict[str, tuple[str, ...]] = {
    "rain": ("rain", "rained", "rainy", "raining", "storm", "stormy", "thunder", "downpour", "drizzle"),
    "snow": ("snow", "snowed", "snowy", "snowing", "winter", "blizzard", "frost", "frozen", "icy"),
}

DRAWN_PROPS: dict[str, tuple[str, ...]] = {
    "apple": ("apple", "peach", "cake", "bread", "egg", "turnip", "dumpling", "gourd", "bean", "seed", "cheese", "stone", "ball", "calabash"),
    "flower": ("flower", "rose", "feather"),
    "lantern": ("lantern", "lamp", "candle"),
    "crown": ("crown", "ring", "gold", "coin"),
    "book": ("book", "letter", "box", "mirror"),
    "sword": ("sword", "stick", "axe", "hammer", "spoon", "broom", "shovel", "key"),
}  # fmt: skip
"""Prop of the theatre -> the story's words it stands for."""

PROP_WORDS = (
    "apple", "axe", "bag", "ball", "basket", "bean", "bell", "boat", "book", "bottle", "bowl", "box", "bread", "broom", "cake",
    "calabash", "candle", "cheese", "coat", "coin", "crown", "cup", "drum", "dumpling", "egg", "feather", "flower", "flute",
    "gold", "gourd", "hammer", "hat", "jar", "key", "lamp", "lantern", "letter", "loom", "mirror", "needle", "peach", "pot",
    "ring", "rope", "rose", "sack", "seed", "shoe", "shovel", "spoon", "stick", "stone", "sword", "thread", "turnip", "wheel",
)  # fmt: skip


def _index(table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    words: dict[str, str] = {}
    for meaning, names in table.items():
        for name in names:
            words.setdefault(name, meaning)
    return words


KIND_OF = _index(KIND_WORDS)
SET_OF = _index(SET_WORDS)
TIME_OF = _index(TIME_WORDS)
ACTION_OF = _index(ACTION_WORDS)
WEATHER_OF = _index(WEATHER_WORDS)
PROP_OF = _index(DRAWN_PROPS)


def singular(word: str) -> str:
    """A plain guess: 'mice' -> 'mouse', 'foxes' -> 'fox', 'berries' -> 'berry', 'cats' -> 'cat'."""
    irregular = {"mice": "mouse", "geese": "goose", "men": "man", "women": "woman", "children": "child", "wolves": "wolf",
                 "oxen": "ox", "wives": "wife", "elves": "elf", "dwarves": "dwarf", "thieves": "thief", "people": "villager"}  # fmt: skip
    if word in irregular:
        return irregular[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word


def find_meaning(text: str, index: dict[str, str]) -> str | None:
    """The meaning of the first word of `text` that the index knows."""
    for word in words_of(text):
        found = index.get(word) or index.get(singular(word))
        if found:
            return found
    return None


def words_of(text: str) -> list[str]:
    """Lower-case words."""
    return [w for w in "".join(c.lower() if c.isalnum() or c == "'" else " " for c in text).split() if w]
