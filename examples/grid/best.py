"""Reads the loss of each value, which stand side by side, and names the best."""
import pathlib

losses = {path.parent.name: float(path.read_text()) for path in pathlib.Path("results").glob("*/loss.txt")}
for value, loss in sorted(losses.items()):
    print(f"{value}: {loss:.3g}")
best = min(losses, key=losses.get)
print(f"best of {len(losses)}: {best}")
pathlib.Path("best.txt").write_text(f"{best}\n")
