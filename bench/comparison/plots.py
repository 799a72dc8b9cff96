"""Plots of the comparison as SVG, drawn from the results alone: where Aviary stands against Apache, the targets and the floor."""
import html
import math
import os

import verdicts
from verdicts import number

APACHE, AVIARY, MISSED, FLOOR, INK, FAINT = "#a3a9b1", "#1668c7", "#d9560b", "#d4dae1", "#1c2430", "#e4e8ec"
WIDTH, LEFT, RIGHT = 920, 250, 650                             # of the picture; where bars begin and end at most
LINES = {"get": "#1668c7", "set": "#0f8a5f", "create": "#8a4fbf"}


class Canvas:
    """SVG elements from top to bottom; `y` is where the next one goes."""

    def __init__(self, title, remark):
        self.parts, self.y = [], 34
        self.text(20, title, size=18, weight=600)
        self.y += 22
        self.text(20, remark, fill="#55606d")
        self.y += 20

    def text(self, x, text, size=13, fill=INK, anchor="start", weight=400, y=None):
        self.parts.append('<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="%s" font-weight="%d">%s</text>' % (
            x, self.y if y is None else y, size, fill, anchor, weight, html.escape(text)))

    def bar(self, x, y, width, height, fill):
        self.parts.append('<rect x="%.1f" y="%.1f" width="%.1f" height="%g" rx="1.5" fill="%s"/>' % (x, y, max(width, 1), height, fill))

    def line(self, x1, y1, x2, y2, stroke=INK, width=1.0, dash=""):
        self.parts.append('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"%s/>' % (
            x1, y1, x2, y2, stroke, width, ' stroke-dasharray="%s"' % dash if dash else ""))

    def save(self, path):
        height = self.y + 16
        with open(path, "w") as out:
            out.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family='
                      '"system-ui, Segoe UI, Helvetica, Arial, sans-serif">\n<rect width="100%%" height="100%%" fill="#ffffff"/>\n%s\n'
                      "</svg>\n" % (WIDTH, height, WIDTH, height, "\n".join(self.parts)))


def heading(canvas, group):
    canvas.y += 18
    canvas.text(20, group, size=14, weight=600)
    canvas.y += 12


def ratios(rows, title="Aviary against Apache 3.9.5"):
    """Bars from 1× (Apache) on a scale of powers of two."""
    canvas = Canvas(title, "Bar: Aviary over Apache (blue: target met, orange: missed). "
                    "Black mark: target. ◇: the floor, zknull.")
    for group in (verdicts.CPU, verdicts.RATE):
        shown = [r for r in rows if r.group == group and r.target]
        if not shown:
            continue
        heading(canvas, group)
        floors = {r: r.floor / r.apache for r in shown if r.floor and r.apache}
        present = [v for r in shown for v in (r.ratio, r.limit, floors.get(r)) if v]
        low, high = min(-1, math.floor(math.log2(min(present)))), max(1, math.ceil(math.log2(max(present))))

        def at(ratio):
            return LEFT + (math.log2(ratio) - low) / (high - low) * (RIGHT - LEFT)
        canvas.y += 10
        for power in range(low, high + 1):
            canvas.text(at(2 ** power), "%g×" % 2 ** power, size=11, fill="#55606d", anchor="middle")
            canvas.line(at(2 ** power), canvas.y + 5, at(2 ** power), canvas.y + 8 + 24 * len(shown), INK if power == 0 else FAINT)
        canvas.y += 10
        for row in shown:
            canvas.text(LEFT - 10, row.name, anchor="end", y=canvas.y + 14)
            verdict = "failed" if row.aviary is None else "no ratio"
            if row.ratio:
                x, one = at(row.ratio), at(1)
                canvas.bar(min(x, one), canvas.y + 4, abs(x - one), 13, AVIARY if row.met else MISSED)
                verdict = "%s×" % number(row.ratio)
            canvas.line(at(row.limit), canvas.y + 1, at(row.limit), canvas.y + 20, width=2.5)
            if row in floors:
                canvas.text(at(floors[row]), "◇", size=14, anchor="middle", y=canvas.y + 16)
            canvas.text(RIGHT + 20, verdict, weight=600, y=canvas.y + 15, fill=AVIARY if row.met else MISSED)
            canvas.text(RIGHT + 90, ("met, " if row.met else "missed, ") + row.target, size=12, y=canvas.y + 15)
            canvas.y += 24
    return canvas


def mark(row):
    """The target of a row as a value on its own scale, or None."""
    if row.group == verdicts.STALL or row.limit is None:
        return {verdicts.STALL: 20, verdicts.MEMORY: 16}.get(row.group)
    if row.group == verdicts.LATENCY and row.limit == 1:
        return min(v for v in (row.floor and 1.2 * row.floor, row.apache) if v) if row.floor or row.apache else None
    if not row.apache:
        return None
    if row.group == verdicts.START:
        return min(row.apache / row.limit, 50 if row.name == "start empty" else math.inf)
    return row.apache * row.limit


def sizes(rows, title, groups):
    """Three bars a row, the longest of each row at full width."""
    canvas = Canvas(title, "Shorter is better; a scale for each row. Grey: Apache. Blue (met) or orange (missed): Aviary. Pale: floor. "
                    "Mark: target.")
    for group in groups:
        shown = [r for r in rows if r.group == group]
        if shown:
            heading(canvas, group)
        for row in shown:
            longest = max([v for v in (row.apache, row.aviary, row.floor, mark(row)) if v], default=1)
            scale = (RIGHT - LEFT) / longest
            canvas.text(LEFT - 10, row.name, anchor="end", y=canvas.y + 21)
            colour = AVIARY if row.met or not row.target else MISSED
            for i, (value, fill) in enumerate(((row.apache, APACHE), (row.aviary, colour), (row.floor, FLOOR))):
                if value is not None:
                    canvas.bar(LEFT, canvas.y + 2 + 11 * i, value * scale, 9, fill)
                    canvas.text(LEFT + max(value * scale, 1) + 6, number(value), size=10, y=canvas.y + 10.5 + 11 * i)
            if mark(row):
                x = LEFT + mark(row) * scale
                canvas.line(x, canvas.y - 1, x, canvas.y + 36, width=2.5)
            if row.target:
                canvas.text(RIGHT + 60, row.target, size=12, y=canvas.y + 14)
            canvas.text(RIGHT + 60, ("met" if row.met else "missed" if row.met is False else "undecided") if row.target else "",
                        size=12, weight=600, fill=colour, y=canvas.y + 29)
            canvas.y += 46
    return canvas


def flatness(ranges):
    """Cost over size, in multiples of the cheapest point, a panel for each range."""
    canvas = Canvas("What one operation costs Aviary as things grow", "Server CPU per operation over the cheapest point of its line; "
                    "dashed: the target of 2×.")
    top, height, width = canvas.y + 30, 230, 250
    for i, (title, points) in enumerate(ranges.items()):
        left = 50 + i * 295
        highest = max([3.0] + [p[o] / min(q[o] for q in points if q.get(o)) for o in LINES for p in points if p.get(o)])
        canvas.text(left, title.replace("flat ", ""), size=14, weight=600, y=top - 12)
        for level in sorted({1, 2, math.floor(highest)}):
            y = top + height - (level - 0.5) / (highest - 0.5) * height
            canvas.line(left, y, left + width, y, INK if level == 2 else FAINT, dash="5 4" if level == 2 else "")
            canvas.text(left - 6, "%d×" % level, size=11, anchor="end", y=y + 4)
        step = width / max(len(points) - 1, 1)
        for j, point in enumerate(points):
            label = "{:,}".format(point["at"]).replace(",000,000", " M").replace(",000", " k")
            canvas.text(left + j * step, label, size=11, anchor="middle", y=top + height + 16)
        for operation, colour in LINES.items():
            known = [(j, p[operation]) for j, p in enumerate(points) if p.get(operation)]
            least = min((c for _, c in known), default=1)
            places = [(left + j * step, top + height - (c / least - 0.5) / (highest - 0.5) * height) for j, c in known]
            for a, b in zip(places, places[1:]):
                canvas.line(*a, *b, stroke=colour, width=2)
            for x, y in places:
                canvas.parts.append('<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>' % (x, y, colour))
    canvas.y = top + height + 44
    for j, (operation, colour) in enumerate(LINES.items()):
        canvas.bar(50 + 90 * j, canvas.y - 9, 18, 9, colour)
        canvas.text(74 + 90 * j, operation)
    return canvas


def write(results, directory):
    rows = verdicts.rows(results)
    os.makedirs(directory, exist_ok=True)
    for name, canvas in (("ratios", ratios(rows)), ("latency", sizes(rows, "Latency", (verdicts.LATENCY, verdicts.STALL))),
                         ("footprint", sizes(rows, "Memory and start", (verdicts.MEMORY, verdicts.START))),
                         ("flatness", flatness(results.get("flatness", {})))):
        canvas.save(os.path.join(directory, name + ".svg"))
