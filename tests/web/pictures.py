"""Screenshots of the documentation, small enough to keep in the repository.

In: a page as it stands. Out: a PNG file of 256 colours at most, which is a third of what a browser writes;
nobody sees the difference in letters and lines. It fails where that is still too large.
"""

import base64
import struct
import zlib
from pathlib import Path
from typing import Any, Final

MOST_OCTETS: Final = 200_000
#: Frequent colours become the palette, and others of which none alike is in it; the rest takes the nearest.
_INDEXED: Final = """async (png) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
    const { width, height } = image;
    const context = new OffscreenCanvas(width, height).getContext('2d');
    context.drawImage(image, 0, 0);
    const octets = context.getImageData(0, 0, width, height).data;
    const color = (i) => (octets[4 * i] << 16) | (octets[4 * i + 1] << 8) | octets[4 * i + 2];
    const counts = new Map();
    for (let i = 0; i < width * height; i += 1) counts.set(color(i), (counts.get(color(i)) ?? 0) + 1);
    const colors = [...counts].sort((a, b) => b[1] - a[1]).map(([one]) => one);
    const apart = (a, b) =>
        ((a >> 16) - (b >> 16)) ** 2 + ((a >> 8 & 255) - (b >> 8 & 255)) ** 2 + ((a & 255) - (b & 255)) ** 2;
    let palette = colors;
    for (let least = 4; palette.length > 256; least *= 1.5) {
        palette = colors.slice(0, 48); // grounds may be nearly alike, and are seen
        for (const one of colors.slice(48)) {
            if (palette.every((other) => apart(one, other) >= least)) palette.push(one);
            if (palette.length > 256) break;
        }
    }
    const places = new Map(palette.map((one, i) => [one, i]));
    const nearest = (wanted) => palette.reduce((best, one, i) =>
        apart(one, wanted) < apart(palette[best], wanted) ? i : best, 0);
    const indices = new Uint8Array(width * height);
    for (let i = 0; i < indices.length; i += 1) {
        if (!places.has(color(i))) places.set(color(i), nearest(color(i)));
        indices[i] = places.get(color(i));
    }
    return { width, height, palette, indices: indices.toBase64() };
}"""


def keep(page: Any, path: Path, **options: Any) -> None:
    """Write a screenshot; `options` are those of Playwright's `screenshot`."""
    png = base64.b64encode(page.screenshot(**options)).decode()
    blank = page.context.new_page()
    found = blank.evaluate(_INDEXED, png)
    blank.close()
    data = encode_indexed(
        found["width"], found["height"], found["palette"], base64.b64decode(found["indices"])
    )
    assert len(data) < MOST_OCTETS, f"{path.name}: {len(data):,} octets"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


def encode_indexed(width: int, height: int, palette: list[int], indices: bytes) -> bytes:
    """Return a PNG with a palette (ISO/IEC 15948, colour type 3)."""
    lines = b"".join(b"\0" + indices[at : at + width] for at in range(0, width * height, width))
    colors = b"".join(color.to_bytes(3, "big") for color in palette)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", colors),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
