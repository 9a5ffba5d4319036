"""
Fits a maximum-entropy character model to data/ and writes checkpoint/: the model, its loss curve, and a sample.

The score of the next character is a sum of learnt rows, one for each of the last 0, 1, … `order` characters taken
together; softmax makes it a probability, and AdaGrad fits the rows. Standard library only.
"""
import argparse
import array
import json
import math
import pathlib
import random
import time

from curve import draw_curve

RATE = 0.3
# A longer context is seen less often, so it learns more cautiously.
RATE_PER_ORDER = 0.8


def read_tokens(path):
    tokens = array.array("H")
    with open(path, "rb") as file:
        tokens.frombytes(file.read())
    return tokens.tolist()


class Model:
    def __init__(self, order, vocabulary):
        self.order = order
        self.vocabulary = vocabulary
        self.rows = {}
        self.squares = {}

    def contexts(self, tokens, at):
        return [tuple(tokens[at - length:at]) for length in range(min(self.order, at) + 1)]

    def probabilities(self, contexts):
        found = [self.rows[context] for context in contexts if context in self.rows]
        scores = [sum(column) for column in zip(*found)] or [0.0] * len(self.vocabulary)
        top = max(scores)
        exponents = [math.exp(score - top) for score in scores]
        total = sum(exponents)
        return [exponent / total for exponent in exponents]

    def learn(self, tokens, at):
        """One step on one character. Returns its loss in nats, as it was before the step."""
        contexts = self.contexts(tokens, at)
        gradient = self.probabilities(contexts)
        loss = -math.log(max(gradient[tokens[at]], 1e-12))
        gradient[tokens[at]] -= 1.0
        size = sum(slope * slope for slope in gradient)
        for context in contexts:
            self.squares[context] = self.squares.get(context, 1.0) + size
            step = RATE * RATE_PER_ORDER ** len(context) * 2 / math.sqrt(self.squares[context])
            row = self.rows.get(context) or [0.0] * len(gradient)
            self.rows[context] = [weight - step * slope for weight, slope in zip(row, gradient)]
        return loss

    def loss(self, tokens):
        total = 0.0
        for at in range(len(tokens)):
            chance = self.probabilities(self.contexts(tokens, at))[tokens[at]]
            total -= math.log(max(chance, 1e-12))
        return total / len(tokens)

    def sample(self, length, chance, temperature):
        newline = self.vocabulary.index("\n") if "\n" in self.vocabulary else 0
        tokens = [newline]
        for _ in range(length):
            weights = self.probabilities(self.contexts(tokens, len(tokens)))
            sharpened = [weight ** (1 / temperature) for weight in weights]
            tokens.append(chance.choices(range(len(weights)), sharpened)[0])
        return "".join(self.vocabulary[token] for token in tokens[1:])

    def save(self, path):
        rows = {
            "".join(self.vocabulary[token] for token in context): [round(weight, 3) for weight in row]
            for context, row in self.rows.items()
        }
        body = {"order": self.order, "vocabulary": self.vocabulary, "rows": rows}
        path.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1609)
    options = parser.parse_args()

    data = pathlib.Path("data")
    meta = json.loads((data / "meta.json").read_text(encoding="utf-8"))
    train = read_tokens(data / "train.u16")
    validation = read_tokens(data / "validation.u16")
    chance = random.Random(options.seed)
    model = Model(options.order, meta["vocabulary"])
    print("%d characters, %d to check with, vocabulary of %d, looking back %d" % (
        len(train), len(validation), len(model.vocabulary), options.order), flush=True)

    began = time.time()
    losses = {"train": [], "validation": []}
    places = list(range(len(train)))
    for epoch in range(1, options.epochs + 1):
        chance.shuffle(places)
        losses["train"].append(sum(model.learn(train, at) for at in places) / len(places))
        losses["validation"].append(model.loss(validation))
        print("epoch %d/%d  train %.3f  validation %.3f  (%.1f s)" % (
            epoch, options.epochs, losses["train"][-1], losses["validation"][-1], time.time() - began), flush=True)

    out = pathlib.Path("checkpoint")
    out.mkdir(exist_ok=True)
    model.save(out / "model.json")
    (out / "loss.json").write_text(json.dumps(losses, indent=2), encoding="utf-8")
    (out / "loss.svg").write_text(draw_curve(losses), encoding="utf-8")
    sample = model.sample(400, chance, temperature=0.5)
    (out / "sample.txt").write_text(sample.strip() + "\n", encoding="utf-8")
    print("%d rows written; a sample:" % len(model.rows))
    print(sample.strip())


if __name__ == "__main__":
    main()
