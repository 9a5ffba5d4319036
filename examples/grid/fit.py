"""Descends f(x) = (x - 3)^2 for a hundred steps at the rate given, and prints the loss."""
import sys

rate, x = float(sys.argv[1]), 0.0
for _ in range(100):
    x -= rate * 2 * (x - 3)
print((x - 3) ** 2)
