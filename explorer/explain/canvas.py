"""A sheet of paper: text, images, lines and marks at places in pixels, drawn with Pillow."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from explorer.explain.colours import INK, MUTED, PAPER
from explorer.whole import replacing
from search_spaces.errors import InputError

WIDTH = 1200  # pixels of every sheet
MARGIN = 36
TITLE, TEXT, SMALL = 30, 19, 16  # sizes of letters; at 1000 pixels of width the smallest are still 13 high


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that Pillow brings, at a size in pixels."""
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return found


class Sheet:
    """A white sheet WIDTH wide, which is cut to its height at the end."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, text: str, size: int = TEXT, colour: str = INK, bold: bool = False) -> float:
        """Writes one line whose top is at y; returns where the next line begins."""
        for word in text.split():  # one by one: the font's kerning would draw blanks beside digits together
            # it has one weight: a hair of stroke makes it bold
            self.draw.text((x, y), word, colour, font(size), stroke_width=0.4 if bold else 0)
            x += font(size).getlength(word) + blank(size)
        return y + line_height(size)

    def wrapped(self, x: float, y: float, width: float, text: str, size: int = TEXT, colour: str = INK) -> float:
        """Writes text in lines of at most `width` pixels; returns where the next line begins."""
        for line in wrap(text, width, size):
            y = self.text(x, y, line, size, colour)
        return y

    def centred(self, x: float, y: float, text: str, size: int = SMALL, colour: str = MUTED) -> None:
        """Writes one line around x."""
        self.text(x - text_width(text, size) / 2, y, text, size, colour)

    def paste(self, x: int, y: int, image: Image.Image) -> None:
        self.image.paste(image, (x, y))

    def save(self, path: Path, bottom: float) -> None:
        """Writes the sheet, cut at `bottom`, as a PNG, whole or not at all."""
        image = self.image.crop((0, 0, WIDTH, min(self.image.height, round(bottom))))
        save_png(image, path)


def save_png(image: Image.Image, path: Path) -> None:
    """Writes an image as a PNG, whole or not at all."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            image.save(part, "PNG")
    except OSError as error:
        raise InputError(f"out={path.parent} cannot be written to: {error.strerror}; give another folder") from None


def line_height(size: int) -> int:
    return round(size * 1.35)


def blank(size: int) -> float:
    return size * 0.28


def text_width(text: str, size: int) -> float:
    words = text.split()
    return sum(font(size).getlength(word) for word in words) + blank(size) * (len(words) - 1)


def wrap(text: str, width: float, size: int) -> list[str]:
    """Lines of at most `width` pixels, broken at blanks; a longer word is cut."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, size) <= width:
            lines[-1] = joined
            continue
        lines.append(shortened(word, width, size))
    return lines


def shortened(text: str, width: float, size: int) -> str:
    """The text, cut with three dots where it is wider than `width` pixels."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "...", size) > width:
        text = text[:-1]
    return text + "..."
