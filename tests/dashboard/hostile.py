"""Texts that run, link, draw or calculate where they are taken for more than a text."""

SCRIPT = "<script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(1)>"
LINK = "[x](javascript:alert(1))"
PICTURE = "![x](https://evil.example/x.png)"
ICON = ":material/home: :smile: :red[x]"
FORMULA = "$$\\frac{1}{2}$$"
CELL = '=cmd|" /C calc"!A1'

HOSTILE = (SCRIPT, IMAGE, LINK, PICTURE, ICON, FORMULA, CELL)
