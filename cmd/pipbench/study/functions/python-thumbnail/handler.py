"""Draws a picture, and makes a thumbnail of it."""
from PIL import Image, ImageDraw


def handler(event, context):
    size = event["size"]
    picture = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(picture)
    for i in range(0, size, 16):
        draw.rectangle((i, i, size - 1, size - 1), fill=(i % 256, 255 - i % 256, 128))
    small = picture.resize((event["to"], event["to"]), Image.Resampling.BOX)
    return {"size": list(small.size), "corner": list(small.getpixel((0, 0))), "quarter": list(small.getpixel((event["to"] // 4,) * 2))}
