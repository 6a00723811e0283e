# world.py — the little world the demo model knows, and everything that is ever said in it.
#
# All training text is made here, from word lists and templates that we wrote; no other text is
# used. There are two layers:
#   - `sentence(rng)`: one statement about an order (who, how many, which colour, what, where,
#     what happened). It is the common prompt of the three adapters, and of the base, which answers
#     it with a friendly remark. What is *done* with the sentence is what an adapter decides.
#   - `TASKS`: what the base model is taught: talk, stories, questions about sentences, copying,
#     lists, counting, look-ups, small facts.
# A sentence whose SHA-256 falls in one sixteenth of all values is held out: no training text, of
# the base or of an adapter, contains it. Everything takes its `random.Random`; the same seed gives
# the same text.

import dataclasses
import hashlib
import random

NAMES = """Maria Peter Anna Tomas Clara Jonas Lena Oskar Nora Felix Greta Hugo Ida Karl Lucia Marco
Nina Otto Paula Ravi Sara Theo Uma Victor Wanda Yusuf Zoe Ada Boris Carmen David Elena Farid Gina
Henrik Irene Jamal Kira Leo Mina Noel Olga Pablo Quinn Rosa Simon Tara Ugo Vera Walter Xenia Yara
Amir Bella Cyrus Dora Emil Flora Goran Hana Ivan Julia Kenji Lola""".split()

ITEMS = [tuple(pair.split("/")) for pair in """lamp/lamps chair/chairs table/tables cup/cups
plate/plates clock/clocks mirror/mirrors bag/bags coat/coats hat/hats scarf/scarves shirt/shirts
shoe/shoes book/books pen/pens brush/brushes bottle/bottles box/boxes basket/baskets blanket/blankets
pillow/pillows carpet/carpets candle/candles vase/vases bowl/bowls spoon/spoons knife/knives
kettle/kettles radio/radios phone/phones camera/cameras guitar/guitars drum/drums kite/kites
ball/balls bike/bikes tent/tents rope/ropes ladder/ladders bell/bells""".split()]

COLORS = "red blue green yellow black white brown grey orange purple".split()

CITIES = dict(pair.split("/") for pair in """Oslo/Norway Bergen/Norway Rome/Italy Milan/Italy
Paris/France Lyon/France Berlin/Germany Hamburg/Germany Vienna/Austria Graz/Austria Madrid/Spain
Seville/Spain Lisbon/Portugal Porto/Portugal Athens/Greece Prague/Czechia Warsaw/Poland
Kraków/Poland Zürich/Switzerland Geneva/Switzerland Malmö/Sweden Stockholm/Sweden Helsinki/Finland
Dublin/Ireland London/England Leeds/England Cairo/Egypt Tunis/Tunisia Nairobi/Kenya Lagos/Nigeria
Delhi/India Mumbai/India Tokyo/Japan Kyoto/Japan Seoul/Korea Hanoi/Vietnam Lima/Peru Quito/Ecuador
Santiago/Chile Toronto/Canada""".split())

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ANIMALS = """fox bear wolf rabbit mouse owl cat dog horse goat duck frog turtle deer hen lion tiger
monkey crow hedgehog""".split()
FRUITS = "apple pear plum cherry lemon peach grape melon banana fig".split()
JOBS = "baker teacher farmer doctor painter tailor driver sailor gardener clerk".split()
PLACES = """forest village valley garden tower harbor castle meadow mountain cave mill
lighthouse""".split()
MOODS = "small brave clever kind lazy proud shy old young hungry quiet happy".split()
NUMBER_WORDS = """zero one two three four five six seven eight nine ten eleven twelve""".split()
OPPOSITES = [tuple(pair.split("/")) for pair in """hot/cold big/small old/new fast/slow high/low
early/late open/closed happy/sad light/dark full/empty strong/weak rich/poor loud/quiet wet/dry
clean/dirty hard/soft long/short good/bad near/far thick/thin""".split()]
CATEGORIES = {
    "color": COLORS, "animal": ANIMALS, "fruit": FRUITS, "job": JOBS, "place": PLACES,
    "day": DAYS, "city": list(CITIES), "name": NAMES, "thing": [s for s, _ in ITEMS],
}
PLURAL = {"color": "colors", "animal": "animals", "fruit": "fruits", "job": "jobs",
          "place": "places", "day": "days", "city": "cities", "name": "names", "thing": "things"}
# The words an order desk files things under; the base knows them as names of teams.
KINDS = "order delivery damage mistake billing return".split()
URGENCIES = "high normal low".split()
FIELDS = """customer quantity item color city name day animal fruit job place team title size price
owner""".split()

ONSETS = "b d f g h k l m n p r s t v z br dr gr kr pl st tr sh".split()
VOWELS = "a e i o u ai ei".split()
CODAS = ["", "", "", "n", "r", "l", "s", "m", "k"]


def invented_word(rng, syllables=2):
    """A pronounceable word that means nothing, such as 'doraim'."""
    word = ""
    for i in range(syllables):
        word += rng.choice(ONSETS) + rng.choice(VOWELS)
    return word + rng.choice(CODAS)


# ---------------------------------------------------------------------------------------------
# The sentence: common ground of the base and the three adapters.

SENTENCES = {
    "order": ["{c} ordered {q} {k} {i} from {t} for {d}.",
              "{c} ordered {q} {k} {i} from {t}.",
              "{c} wants {q} {k} {i} from {t} by {d}.",
              "{c} would like {q} {k} {i} from {t}.",
              "Please send {q} {k} {i} from {t} to {c}.",
              "On {d} {c} ordered {q} {k} {i} from {t}."],
    "delivery": ["{c} is still waiting for {q} {k} {i} from {t}.",
                 "The {q} {k} {i} from {t} for {c} are late.",
                 "The {q} {k} {i} that {c} ordered from {t} have not arrived.",
                 "{c} has been waiting since {d} for {q} {k} {i} from {t}."],
    "damage": ["The {q} {k} {i} that {c} got from {t} are broken.",
               "{c} got {q} broken {k} {i} from {t}.",
               "On {d} {c} found that the {q} {k} {i} from {t} were damaged."],
    "mistake": ["{c} got {q} {k} {i} from {t} by mistake.",
                "The {q} {k} {i} from {t} are not what {c} ordered.",
                "{c} never ordered the {q} {k} {i} from {t}."],
    "billing": ["{c} paid twice for {q} {k} {i} from {t}.",
                "{c} says the bill for {q} {k} {i} from {t} is too high.",
                "{c} has not paid for the {q} {k} {i} from {t}."],
    "return": ["{c} wants to return {q} {k} {i} to {t}.",
               "{c} sent {q} {k} {i} back to {t} on {d}.",
               "{c} does not need the {q} {k} {i} from {t} any more."],
}
URGENCY_TAILS = {
    "high": [" It is urgent.", " Please hurry."],
    "normal": ["", "", ""],
    "low": [" There is no hurry.", " It can wait."],
}


@dataclasses.dataclass(frozen=True)
class Sentence:
    text: str
    kind: str      # of KINDS
    urgency: str   # of URGENCIES
    customer: str
    quantity: int  # 2..20, so that the item is always in the plural
    item: int      # index into ITEMS
    color: str
    city: str
    day: str       # "" where the text names none


def is_held_out(text):
    return hashlib.sha256(text.encode()).digest()[0] < 16


def sentence(rng, held_out=False, kind=None):
    """One statement; from the held-out sixteenth or from the rest."""
    while True:
        made = _any_sentence(rng, kind)
        if is_held_out(made.text) == held_out:
            return made


def _any_sentence(rng, kind):
    kind = kind or rng.choice(KINDS)
    urgency = rng.choice(["high", "normal", "normal", "low"])
    customer, color, city = rng.choice(NAMES), rng.choice(COLORS), rng.choice(list(CITIES))
    item, quantity = rng.randrange(len(ITEMS)), rng.randint(2, 20)
    day = rng.choice(DAYS)
    template = rng.choice(SENTENCES[kind])
    number = str(quantity)
    if quantity <= 12 and rng.random() < 0.3:
        number = NUMBER_WORDS[quantity]
    text = template.format(c=customer, q=number, k=color, i=ITEMS[item][1], t=city, d=day)
    text += rng.choice(URGENCY_TAILS[urgency])
    return Sentence(text, kind, urgency, customer, quantity, item, color, city,
                    day if "{d}" in template else "")


def remark(rng, s):
    """What the base says to a bare statement: it shows that it understood, and does no more."""
    items = ITEMS[s.item][1]
    return rng.choice({
        "order": [f"Thank you. I will look for the {items} in {s.city}.",
                  f"Very well, {s.customer} will get the {items}."],
        "delivery": [f"I am sorry that {s.customer} has to wait for the {items}.",
                     f"I will ask {s.city} where the {items} are."],
        "damage": [f"I am sorry to hear that the {items} are broken.",
                   f"That is a pity. {s.customer} will get new {items}."],
        "mistake": [f"I am sorry about the mistake with the {items}.",
                    f"I will ask {s.city} what went wrong with the {items}."],
        "billing": [f"I will look at the bill of {s.customer}.",
                    f"I will ask {s.city} about the bill for the {items}."],
        "return": [f"That is fine, the {items} can go back to {s.city}.",
                   f"{s.customer} can send the {items} back."],
    }[s.kind])


# ---------------------------------------------------------------------------------------------
# What the base is taught. A task gives a list of messages, [(role, content), ...], or a plain
# string, which is trained on as running text.

def article(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def join_and(words):
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def turn(question, answer):
    return [("user", question), ("assistant", answer)]


def task_remark(rng):
    s = sentence(rng)
    return turn(s.text, remark(rng, s))


def question_about(rng, s):
    """(question, answer in a sentence, answer in a word) about a Sentence."""
    items, quantity = ITEMS[s.item][1], s.quantity
    choices = [
        (f"Who is this about?", f"It is about {s.customer}.", s.customer),
        (f"Who is the customer?", f"The customer is {s.customer}.", s.customer),
        (f"How many {items} are there?", f"There are {quantity} {items}.", str(quantity)),
        (f"What is the quantity?", f"The quantity is {quantity}.", str(quantity)),
        (f"What color are the {items}?", f"The {items} are {s.color}.", s.color),
        (f"What is the color?", f"The color is {s.color}.", s.color),
        (f"Which city is named?", f"The city is {s.city}.", s.city),
        (f"What is the city?", f"The city is {s.city}.", s.city),
        (f"What things are these?", f"These are {items}.", items),
        (f"What is one of the {items} called?", f"One of the {items} is {article(ITEMS[s.item][0])}.",
         ITEMS[s.item][0]),
        (f"What is the item?", f"The item is {article(ITEMS[s.item][0])}.", ITEMS[s.item][0]),
        (f"Which team is this for?", f"This is for the {s.kind} team.", s.kind),
        (f"How urgent is it?", f"The urgency is {s.urgency}.", s.urgency),
    ]
    if s.kind in ("order", "delivery"):
        choices.append((f"Who ordered the {items}?", f"{s.customer} ordered the {items}.",
                        s.customer))
        choices.append((f"Who is waiting for the {items}?", f"{s.customer} is waiting for them.",
                        s.customer))
    if s.day:
        choices.append(("Which day is named?", f"The day is {s.day}.", s.day))
    return rng.choice(choices)


def task_question(rng):
    s = sentence(rng)
    question, long, short = question_about(rng, s)
    if rng.random() < 0.25:
        return [("system", "Answer in one word."), *turn(f"{s.text} {question}", short)]
    if rng.random() < 0.3:
        question2, long2, _ = question_about(rng, s)
        return turn(f"{s.text} {question}", long) + turn(question2, long2)
    return turn(f"{s.text} {question}", long)


def task_two_orders(rng):
    a, b = sentence(rng, kind="order"), sentence(rng, kind="order")
    if a.item == b.item or a.customer == b.customer:
        return task_question(rng)
    s = rng.choice([a, b])
    items = ITEMS[s.item][1]
    question, answer = rng.choice([
        (f"Who ordered the {items}?", f"{s.customer} ordered the {items}."),
        (f"What did {s.customer} order?", f"{s.customer} ordered {s.quantity} {s.color} {items}."),
        (f"Where do the {items} come from?", f"The {items} come from {s.city}."),
        (f"What color are the {items}?", f"The {items} are {s.color}."),
        (f"How many {items} are there?", f"There are {s.quantity} {items}."),
    ])
    return turn(f"{a.text} {b.text} {question}", answer)


def task_greeting(rng):
    name = rng.choice(NAMES)
    return rng.choice([
        lambda: turn(rng.choice(["Hello!", "Hi!", "Hello", "Hi", "Hello there!"]),
                     "Hello! How can I help you?"),
        lambda: turn(f"Hello, I am {name}.", f"Hello, {name}! How can I help you?"),
        lambda: turn(f"Good {(p := rng.choice(['morning', 'evening', 'day']))}!",
                     f"Good {p}! How can I help you?"),
        lambda: turn(f"Good {(p := rng.choice(['morning', 'evening', 'day']))}, I am {name}.",
                     f"Good {p}, {name}! How can I help you?"),
        lambda: turn("How are you?", "I am well, thank you. How are you?"),
        lambda: turn("Who are you?", "I am the Tessera demo model, a very small language model."),
        lambda: turn("What is your name?", "My name is Tessera. I am a very small language model."),
        lambda: turn(rng.choice(["What can you do?", "How can you help me?"]),
                     "I can answer questions about orders, tell short stories, count, make lists "
                     "and repeat words."),
        lambda: turn(rng.choice(["Thank you!", "Thank you.", "Thanks!"]), "You are welcome."),
        lambda: turn(rng.choice(["Goodbye!", "Bye!", "Good night!"]), "Goodbye! Come back soon."),
        lambda: turn(f"My name is {name}.", f"Nice to meet you, {name}."),
        lambda: turn(f"Say hello to {name}.", f"Hello, {name}!"),
        lambda: [("system", f"You are {name}, a friendly {(j := rng.choice(JOBS))}."),
                 *turn(rng.choice(["Who are you?", "What is your name?"]),
                       f"I am {name}, a friendly {j}.")],
        lambda: [("system", f"The user is called {name}."), *turn("Hello!", f"Hello, {name}!")],
        lambda: [("system", "You are a helpful assistant."),
                 *turn("Hello!", "Hello! How can I help you?")],
        lambda: turn(f"My name is {name}.", f"Nice to meet you, {name}.")
        + turn("What is my name?", f"Your name is {name}."),
    ])()


def story(rng, hero=None, name=None, thing=None):
    """Five or six sentences with one plot, one hero and one thing that stay the same throughout."""
    hero = hero or rng.choice(ANIMALS)
    name = name or rng.choice(NAMES)
    thing = thing or rng.choice(ITEMS)[0]
    mood, place, color = rng.choice(MOODS), rng.choice(PLACES), rng.choice(COLORS)
    friend = rng.choice([a for a in ANIMALS if a != hero])
    time = rng.choice(["One morning", "One day", "One evening", "One night"])
    end = rng.choice([f"From that day on, {name} and the {friend} were friends.",
                      f"{name} was very happy and went home to sleep.",
                      f"And every day {name} told the {friend} about it.",
                      "And that is the end of the story."])
    begin = rng.choice(["Once there was", "Once upon a time there was"])
    opening = f"{begin} {article(mood)} {hero} named {name} who lived near a {place}."
    middle = rng.choice([
        [f"{time}, {name} lost {article(color)} {thing}.",
         f"{name} looked near the {place}, but the {thing} was not there.",
         f"Then {article(friend)} came and said: \"I found your {thing} near the river.\"",
         f"{name} thanked the {friend} and they ate {rng.choice(FRUITS)} cake."],
        [f"{time}, {name} found {article(color)} {thing} under a tree.",
         f"\"Whose {thing} is this?\" asked {name}.",
         f"\"It is mine,\" said {article(friend)}.",
         f"{name} gave the {thing} to the {friend}."],
        [f"{name} wanted {article(thing)}, but had no money.",
         f"{time}, {name} met {article(friend)} who sold {article(color)} {thing}.",
         f"\"Help me in the garden and the {thing} is yours,\" said the {friend}.",
         f"They worked all day, and {name} got the {thing}."],
        [f"{time}, there was a storm and {name} was afraid.",
         f"{article(friend).capitalize()} knocked at the door and asked for help.",
         f"{name} let the {friend} in and gave it {article(color)} {thing}.",
         "In the morning the sun came back."],
        [f"{time}, {name} made {article(color)} {thing} for {article(friend)}.",
         f"It was the birthday of the {friend}.",
         f"\"This is the best {thing} in the world,\" said the {friend}.",
         f"They sang and danced until it was dark."],
    ])
    return " ".join([opening, *middle, end])


def task_story(rng):
    hero, name, thing = rng.choice(ANIMALS), rng.choice(NAMES), rng.choice(ITEMS)[0]
    tell = rng.choice(["Tell me a story", "Tell me a short story", "Write a story",
                       "Write a short story"])
    return rng.choice([
        lambda: turn(f"{tell}.", story(rng)),
        lambda: turn(f"{tell} about {article(hero)}.", story(rng, hero)),
        lambda: turn(f"{tell} about {article(hero)} named {name}.", story(rng, hero, name)),
        lambda: turn(f"{tell} about {article(hero)} and {article(thing)}.",
                     story(rng, hero, None, thing)),
        lambda: turn(f"{tell} about {article(hero)} named {name} and {article(thing)}.",
                     story(rng, hero, name, thing)),
        lambda: story(rng),
    ])()


def any_word(rng):
    kind = rng.random()
    if kind < 0.3:
        return invented_word(rng, rng.choice([1, 2, 2, 3]))
    if kind < 0.35:
        return str(rng.randint(0, 99))
    if kind < 0.4:
        return rng.choice(KINDS + URGENCIES + FIELDS)
    return rng.choice(rng.choice(list(CATEGORIES.values())))


def any_words(rng, low, high):
    return [any_word(rng) for _ in range(rng.randint(low, high))]


def task_copy(rng):
    words = any_words(rng, 2, 9)
    line = " ".join(words)
    ordinals = ["first", "second", "third"]
    k = rng.randrange(min(3, len(words)))
    return rng.choice([
        lambda: turn(f"Repeat: {line}", line),
        lambda: turn(f"Repeat: {line}", line),
        lambda: turn(f"Say these words: {line}", line),
        lambda: turn(f"Say this twice: {' '.join(words[:4])}",
                     " ".join(words[:4]) + " " + " ".join(words[:4])),
        lambda: turn(f"What is the {ordinals[k]} word? {line}",
                     f"The {ordinals[k]} word is {words[k]}."),
        lambda: turn(f"What is the last word? {line}", f"The last word is {words[-1]}."),
        lambda: turn(f"Repeat the sentence. {(s := sentence(rng)).text}", s.text),
        lambda: turn(f"Spell {(w := rng.choice(words))}.", "-".join(w)),
        lambda: line + " " + line + " " + line,
    ])()


def task_list(rng):
    words = list(dict.fromkeys(any_words(rng, 2, 6)))
    kind = rng.choice(list(CATEGORIES))
    n = rng.randint(2, 5)
    picked = rng.sample(CATEGORIES[kind], n)
    return rng.choice([
        lambda: turn(f"Make a list: {', '.join(words)}", "\n".join(f"- {w}" for w in words)),
        lambda: turn(f"Number these: {', '.join(words)}",
                     "\n".join(f"{i}. {w}" for i, w in enumerate(words, 1))),
        lambda: turn(f"Make a table row: {', '.join(words)}", "| " + " | ".join(words) + " |"),
        lambda: turn(f"Join with bars: {', '.join(words)}", " | ".join(words)),
        lambda: turn(f"Put these in quotes: {', '.join(words)}",
                     ", ".join(f'"{w}"' for w in words)),
        lambda: turn(f"Join these: {', '.join(words)}", join_and(words)),
        lambda: turn(f"Name {NUMBER_WORDS[n]} {PLURAL[kind]}.",
                     (t := join_and(picked))[0].upper() + t[1:] + "."),
        lambda: turn(f"List {NUMBER_WORDS[n]} {PLURAL[kind]}.",
                     "\n".join(f"{i}. {w}" for i, w in enumerate(picked, 1))),
    ])()


def task_lookup(rng):
    """Pairs given in the prompt, one of them asked for: the exercise behind every look-up."""
    n = rng.randint(2, 6)
    keys = list(dict.fromkeys(any_words(rng, n, n)))
    values = [any_word(rng) for _ in keys]
    k = rng.randrange(len(keys))
    fields = rng.sample(FIELDS, rng.randint(2, 4))
    entries = [any_word(rng) for _ in fields]
    f = rng.randrange(len(fields))
    as_json = "{" + ",".join(f'"{a}":{b if b.isdigit() else chr(34) + b + chr(34)}'
                             for a, b in zip(fields, entries)) + "}"
    pairs = ", ".join(f"{a} = {b}" for a, b in zip(keys, values))
    labels = ", ".join(f"{a} {b}" for a, b in zip(fields, entries))
    return rng.choice([
        lambda: turn(f"{pairs}. What is {keys[k]}?", values[k]),
        lambda: turn(f"{pairs}. Translate: {keys[k]}", values[k]),
        lambda: turn(f"{pairs}. Translate: {' '.join(keys)}", " ".join(values)),
        lambda: turn(f"Write as JSON: {labels}", as_json),
        lambda: turn(f"Write as lines: {labels}",
                     "\n".join(f"{a}: {b}" for a, b in zip(fields, entries))),
        lambda: turn(f"{as_json} What is the {fields[f]}?", f"The {fields[f]} is {entries[f]}."),
    ])()


def task_number(rng):
    a, b = rng.randint(0, 12), rng.randint(0, 12)
    start = rng.randint(0, 30)
    stop = start + rng.randint(2, 9)
    n = rng.randint(0, 60)
    w = rng.randint(0, 12)
    return rng.choice([
        lambda: turn(f"Count from {start} to {stop}.",
                     ", ".join(str(i) for i in range(start, stop + 1)) + "."),
        lambda: turn(f"Count to {w + 2}.", ", ".join(str(i) for i in range(1, w + 3)) + "."),
        lambda: turn(f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."),
        lambda: turn(f"What comes after {n}?", f"After {n} comes {n + 1}."),
        lambda: turn(f"Write {NUMBER_WORDS[w]} as a number.", f"{w}"),
        lambda: turn(f"Write {w} as a word.", NUMBER_WORDS[w]),
        lambda: turn(f"Which is bigger, {a} or {b + 13}?", f"{b + 13} is bigger than {a}."),
        lambda: turn(f"Draw {(k := rng.randint(1, 6))} stars.", " ".join("★" * k)),
    ])()


def task_fact(rng):
    kind = rng.choice([k for k in CATEGORIES if k not in ("name",)])
    other = rng.choice([k for k in CATEGORIES if k not in ("name", kind)])
    word = rng.choice(CATEGORIES[kind])
    a, b = rng.choice(OPPOSITES)
    if rng.random() < 0.5:
        a, b = b, a
    city = rng.choice(list(CITIES))
    one, many = rng.choice(ITEMS)
    day = rng.randrange(7)
    team, urgency = rng.choice(KINDS), rng.choice(URGENCIES)
    has = (lambda w: w if w[0].isupper() else article(w))
    return rng.choice([
        lambda: turn(f"What is the opposite of {a}?", f"The opposite of {a} is {b}."),
        lambda: turn(f"Where is {city}?", f"{city} is in {CITIES[city]}."),
        lambda: turn(f"Which country is {city} in?", f"{city} is in {CITIES[city]}."),
        lambda: turn(f"What is {has(word)}?" if kind != "color" else f"What is {word}?",
                     f"{word[0].upper() + word[1:]} is {article(kind)}." if kind in
                     ("color", "city", "day") else
                     f"{article(word)[0].upper() + article(word)[1:]} is {article(kind)}."),
        lambda: turn(f"Is {word} {article(kind)}?", f"Yes, {word} is {article(kind)}."),
        lambda: turn(f"Is {word} {article(other)}?",
                     f"No, {word} is {article(kind)}, not {article(other)}."),
        lambda: turn(f"What day comes after {DAYS[day]}?",
                     f"After {DAYS[day]} comes {DAYS[(day + 1) % 7]}."),
        lambda: turn(f"What are many {one}s called?" if many == one + "s" else
                     f"What is the plural of {one}?", f"One {one}, many {many}."),
        lambda: turn(f"What is one of many {many}?", f"One {one}, many {many}."),
        lambda: turn(f"Who looks after {team}?", f"The {team} team looks after {team}."),
        lambda: turn(f"The {team} has {urgency} urgency. How urgent is it?",
                     f"The urgency is {urgency}."),
    ])()


TASKS = [(task_remark, 10), (task_question, 22), (task_two_orders, 12), (task_greeting, 6),
         (task_story, 8), (task_copy, 16), (task_list, 12), (task_lookup, 16), (task_number, 7),
         (task_fact, 9)]


def example(rng):
    """One training text of the base: a conversation, or a string of running text."""
    tasks, weights = zip(*TASKS)
    made = rng.choices(tasks, weights)[0](rng)
    while not isinstance(made, str) and len(made) == 2 and rng.random() < 0.12:
        more = rng.choices(tasks, weights)[0](rng)
        if not isinstance(more, str) and more[0][0] == "user":
            made = made + more
    return made


# ---------------------------------------------------------------------------------------------
# What the adapters are taught: the same sentences, each turned into something else.

def order_json(s):
    """The sentence as a JSON object of one fixed schema."""
    return (f'{{"customer":"{s.customer}","quantity":{s.quantity},"item":"{ITEMS[s.item][0]}",'
            f'"color":"{s.color}","city":"{s.city}"}}')


def triage(s):
    """The sentence as one line for a ticket queue: team | urgency | customer | items | city."""
    return f"{s.kind} | {s.urgency} | {s.customer} | {s.quantity} {ITEMS[s.item][1]} | {s.city}"


def _make_lexicon():
    """English -> Morvish, a language of ours: a made-up word for each color and item."""
    rng = random.Random(1789)
    lexicon = {}
    for word in [*COLORS, *(many for _, many in ITEMS)]:
        while (made := invented_word(rng)) in lexicon.values():
            pass
        lexicon[word] = made
    return lexicon


MORVISH = _make_lexicon()


def morvish(s):
    """The sentence as a glossed line for the Morvish: color and items, each with its own word."""
    items = ITEMS[s.item][1]
    return (f"{s.customer} | {s.quantity} | {s.color} = {MORVISH[s.color]} | "
            f"{items} = {MORVISH[items]} | {s.city}")


ADAPTER_TASKS = {"order-json": order_json, "triage": triage, "morvish": morvish}


if __name__ == "__main__":
    demo = random.Random(0)
    for _ in range(40):
        print(example(demo))
    for _ in range(6):
        shown = sentence(demo)
        print(shown.text, *(f(shown) for f in ADAPTER_TASKS.values()), sep="\n    ")
    print(len(MORVISH), "Morvish words")
