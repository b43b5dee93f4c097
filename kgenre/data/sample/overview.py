"""Overviews of sample films: a small grammar whose phrases depend on the genres, with noise."""

from __future__ import annotations

import numpy as np

from kgenre.data.sample.genres import SHARES, pick

# The share of phrases from the film's own genres; the others come from any genre.
OWN_PHRASES = 0.68

PATTERNS = (
    "When {hero} {incident}, there is no choice but to {goal}.",
    "In {place}, {hero} {incident} and has to {goal}.",
    "{hero} {incident} in {place}, and sets out to {goal}.",
    "The story of {hero} who {incident} in {place} and tries to {goal}.",
    "{hero} hopes to {goal}, until one night in {place} {twist}.",
)
ENDINGS = (
    "But {twist}.",
    "Soon {twist}.",
    "Before long {twist}, and {hero} has to {goal}.",
    "Then {twist}, and nothing is the same.",
    "",
)
# hero, place, incident, goal, twist
PHRASES: dict[str, dict[str, tuple[str, ...]]] = {
    "Drama": {
        "hero": ("a grieving mother", "a retired teacher", "a young immigrant", "an estranged son"),
        "place": ("a fading mill town", "the house of her childhood", "a hospital ward"),
        "incident": ("loses a child", "returns home after years away", "learns of a grave illness"),
        "goal": ("make peace with the past", "keep the family together", "forgive a dying father"),
        "twist": ("an old wound opens again", "a family secret comes to light", "the marriage falls apart"),
    },
    "Comedy": {
        "hero": ("a clumsy salesman", "an out-of-work clown", "a hapless best man", "a bored suburban dad"),
        "place": ("a chaotic hotel", "the worst summer camp", "an office party"),
        "incident": (
            "wakes up in the wrong house",
            "lies about being a chef",
            "loses a bet with the in-laws",
        ),
        "goal": ("save the wedding from disaster", "win a ridiculous contest", "hide a stolen goat"),
        "twist": ("hilarious mix-ups follow", "every prank backfires", "the eccentric neighbours move in"),
    },
    "Action": {
        "hero": ("an elite commando", "a former soldier", "a rogue pilot", "a stunt driver"),
        "place": ("a war zone", "a hijacked train", "the docks under fire"),
        "incident": ("survives an ambush", "is framed by a general", "leads a raid that fails"),
        "goal": ("stop a stolen missile", "rescue the hostages", "fight an army of mercenaries"),
        "twist": ("the bomb starts ticking", "explosions rock the city", "an old enemy strikes back"),
    },
    "Horror": {
        "hero": ("a possessed girl", "a group of campers", "a sceptical priest", "a lonely gravedigger"),
        "place": ("a haunted asylum", "a cursed cabin", "the crypt below the church"),
        "incident": (
            "awakens an ancient demon",
            "reads from a forbidden book",
            "hears whispers in the walls",
        ),
        "goal": ("survive until dawn", "break the curse", "bury what will not die"),
        "twist": ("the dead begin to rise", "bodies turn up drained of blood", "a masked killer stalks them"),
    },
    "Romance": {
        "hero": ("a shy florist", "a heartbroken pianist", "a charming widower", "a bride with doubts"),
        "place": ("a Paris bookshop", "a seaside dance hall", "a vineyard in spring"),
        "incident": ("falls for a stranger", "meets a first love again", "finds a bundle of love letters"),
        "goal": ("follow the heart", "win back a lost sweetheart", "choose between two suitors"),
        "twist": ("a kiss changes everything", "passion blooms", "her fiance comes back"),
    },
    "Animation": {
        "hero": ("a brave little penguin", "a talking teapot", "a young dragon", "a toy robot"),
        "place": ("a magical forest", "a kingdom of toys", "the bottom of the sea"),
        "incident": ("gets lost far from the flock", "discovers enchanted colours", "befriends a tiny owl"),
        "goal": ("find the way home to the zoo", "save the animal village", "learn to fly"),
        "twist": (
            "a wicked sorcerer steals the songs",
            "the animals join the adventure",
            "the moon begins to sing",
        ),
    },
    "Sci-Fi": {
        "hero": ("a lone astronaut", "an android", "a scientist from the future", "a starship captain"),
        "place": ("a space station", "a colony on Mars", "a ruined planet"),
        "incident": ("receives an alien signal", "wakes from cryogenic sleep", "opens a time portal"),
        "goal": ("repair the spaceship", "save what is left of mankind", "outwit an artificial mind"),
        "twist": ("the machines rebel", "aliens reach the galaxy", "a second universe appears"),
    },
    "Crime": {
        "hero": ("a corrupt detective", "a veteran mobster", "a small-time thief", "an undercover cop"),
        "place": ("a Chicago nightclub", "the underworld of Marseille", "a city prison"),
        "incident": ("robs a bank", "betrays the gang", "steals from the cartel"),
        "goal": ("pull off one last heist", "launder the money", "bring down the mafia boss"),
        "twist": ("the police close in", "a partner turns informer", "the loot disappears"),
    },
    "Thriller": {
        "hero": (
            "a paranoid journalist",
            "a kidnapped lawyer",
            "an intelligence analyst",
            "a blackmailed surgeon",
        ),
        "place": ("a locked apartment", "a remote motorway motel", "an embassy"),
        "incident": ("witnesses a murder", "receives anonymous threats", "uncovers a conspiracy"),
        "goal": ("find the killer in time", "expose the plot", "escape the pursuers"),
        "twist": ("nobody can be trusted", "the stalker knows her name", "the evidence vanishes"),
    },
    "Western": {
        "hero": ("an ageing gunslinger", "a frontier sheriff", "a bounty hunter", "a stubborn rancher"),
        "place": ("a dusty saloon town", "the Arizona desert", "a gold mine"),
        "incident": ("rides in from the prairie", "is robbed of the cattle", "draws against an outlaw"),
        "goal": ("defend the homestead", "hang up the guns", "lead the wagon train west"),
        "twist": ("a posse saddles up", "the outlaws return at noon", "the railroad comes"),
    },
}


def write_overview(rng: np.random.Generator, genres: tuple[str, ...]) -> str:
    """Write one or two sentences of 12 to 35 words in all."""
    while True:
        sentences = [_sentence(rng, genres, pick(rng, PATTERNS)), _sentence(rng, genres, pick(rng, ENDINGS))]
        text = " ".join(s for s in sentences if s)
        if 12 <= len(text.split()) <= 35:
            return text


def _sentence(rng: np.random.Generator, genres: tuple[str, ...], pattern: str) -> str:
    words = {}
    for slot in ("hero", "place", "incident", "goal", "twist"):
        genre = pick(rng, genres) if rng.random() < OWN_PHRASES else pick(rng, tuple(SHARES))
        words[slot] = pick(rng, PHRASES[genre][slot])
    text = pattern.format(**words)
    return text[:1].upper() + text[1:]
