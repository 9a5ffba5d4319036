"""Turns raw/input.txt into numbers: one per character, split into a part to learn from and a part to check with."""
import array
import collections
import json
import pathlib

VALIDATION_SHARE = 0.1
# A character seen less often than this says nothing that a model could learn.
COUNT_MIN = 3


def main():
    text = pathlib.Path("raw/input.txt").read_text(encoding="utf-8").replace("\r\n", "\n")
    counts = collections.Counter(text)
    kept = {character for character, count in counts.items() if count >= COUNT_MIN}
    text = "".join(character for character in text if character in kept)
    if len(text) < 1000:
        raise SystemExit("raw/input.txt is too short to learn from: %d characters" % len(text))

    vocabulary = sorted(kept)
    number_of = {character: number for number, character in enumerate(vocabulary)}
    tokens = [number_of[character] for character in text]
    # Whole lines, so that neither part begins in the middle of a word.
    split = text.rfind("\n", 0, int(len(text) * (1 - VALIDATION_SHARE))) + 1

    out = pathlib.Path("data")
    out.mkdir(exist_ok=True)
    parts = {"train": tokens[:split], "validation": tokens[split:]}
    for name, part in parts.items():
        with open(out / (name + ".u16"), "wb") as file:
            array.array("H", part).tofile(file)
    meta = {
        "vocabulary": vocabulary,
        "characters": {name: len(part) for name, part in parts.items()},
        "dropped": "".join(sorted(set(counts) - kept)),
    }
    (out / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")

    words = collections.Counter("".join(c if c.isalpha() else " " for c in text.lower()).split())
    print("%d lines, %d words, %d characters" % (text.count("\n"), sum(words.values()), len(text)))
    print("most frequent: " + ", ".join("%s %d" % pair for pair in words.most_common(8)))
    print("vocabulary of %d, left out: %r" % (len(vocabulary), meta["dropped"]))
    print("train %(train)d, validation %(validation)d" % meta["characters"])


if __name__ == "__main__":
    main()
