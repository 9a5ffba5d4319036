"""Draws loss per epoch as an SVG that reads well on its own, in a browser or in a README."""

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 128, 72, 56
COLOURS = {"train": "#2563eb", "validation": "#d97706"}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


def draw_curve(losses):
    """`losses` has a list of equal length for each name in COLOURS; nats per character."""
    epochs = len(losses["train"])
    values = [value for name in COLOURS for value in losses[name]]
    step = tick_step(min(values), max(values))
    bottom, top = int(min(values) / step) * step, (int(max(values) / step) + 1) * step

    def x(epoch):
        return LEFT + (WIDTH - LEFT - RIGHT) * ((epoch - 1) / max(1, epochs - 1))

    def y(value):
        return TOP + (HEIGHT - TOP - BOTTOM) * (top - value) / (top - bottom)

    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="%s" font-size="13">' % (WIDTH, HEIGHT, FONT),
        '<rect width="%d" height="%d" rx="10" fill="#ffffff"/>' % (WIDTH, HEIGHT),
        text(LEFT, 32, "Loss per epoch", size=18, colour="#0f172a", weight=600),
        text(LEFT, 52, "nats per character, lower is better", colour="#64748b"),
    ]
    for count in range(int(round((top - bottom) / step)) + 1):
        value = bottom + count * step
        lines.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#e2e8f0"/>' % (LEFT, WIDTH - RIGHT, y(value), y(value)))
        lines.append(text(LEFT - 10, y(value) + 4, "%.1f" % value, colour="#64748b", anchor="end"))
    every = max(1, epochs // 10)
    for epoch in range(1, epochs + 1, every):
        lines.append(text(x(epoch), HEIGHT - BOTTOM + 22, str(epoch), colour="#64748b", anchor="middle"))
    lines.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "epoch", colour="#64748b", anchor="middle"))

    ends = label_heights({name: y(losses[name][-1]) for name in COLOURS})
    for name, colour in COLOURS.items():
        points = ["%.1f,%.1f" % (x(at + 1), y(value)) for at, value in enumerate(losses[name])]
        lines.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2.5" stroke-linejoin="round" stroke-linecap="round"/>' % (" ".join(points), colour))
        for point in points:
            lines.append('<circle cx="%s" cy="%s" r="3.5" fill="#ffffff" stroke="%s" stroke-width="2"/>' % (*point.split(","), colour))
        lines.append(text(x(epochs) + 12, ends[name] + 4, "%s %.2f" % (name, losses[name][-1]), colour=colour, weight=600))
    return "\n".join(lines + ["</svg>", ""])


def tick_step(low, high):
    """The smallest pleasant step that makes at most eight ticks."""
    return next(step for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 100.0) if (high - low) / step <= 7)


def label_heights(heights, apart=18):
    """Moves labels that would cover each other apart."""
    placed = {}
    for name, height in sorted(heights.items(), key=lambda pair: pair[1]):
        placed[name] = max(height, max(placed.values(), default=-apart) + apart)
    return placed


def text(x, y, words, size=13, colour="#0f172a", weight=400, anchor="start"):
    return '<text x="%.1f" y="%.1f" font-size="%d" font-weight="%d" fill="%s" text-anchor="%s">%s</text>' % (x, y, size, weight, colour, anchor, words)
