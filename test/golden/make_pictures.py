"""Golden verdicts for src/image/decode.ts and orientation.ts: what Pillow makes of many small picture files.

    python test/golden/make_pictures.py        (Pillow 12.3, NumPy)

Writes test/golden/pictures.json: for each name the file's bytes and, by exif_transpose(Image.open(f)).convert("RGB"),
its size and pixels, or null where Pillow refuses it. Bytes are base64.
"""

import base64
import io
import json
import pathlib
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20260101)
files = {}


def save(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def noise(height, width, channels=3):
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


# --- EXIF and XMP -----------------------------------------------------------------------------------------------------

UNITS = {1: "B", 2: "c", 3: "H", 4: "L", 5: "LL", 6: "b", 7: "B", 8: "h", 9: "l", 10: "ll", 11: "f", 12: "d", 13: "L", 16: "Q"}


def entry(value, tag=0x0112, kind=3, count=1, order=">"):
    """One entry of a directory, and the bytes of its value."""
    if kind == 2:
        data = str(value).encode() + b"\0"
        count = len(data)
    elif kind in (5, 10):
        data = struct.pack(order + UNITS[kind], value * 2, 2) * count
    elif kind in UNITS:
        data = struct.pack(order + UNITS[kind], value) * count
    else:
        data = bytes([value] * 4)
    return tag, kind, count, data


def tiff(*entries, order=">", magic=None, directory=8, gap=b""):
    head = (magic or (b"MM\0*" if order == ">" else b"II*\0")) + struct.pack(order + "L", directory)
    at = 8 + len(gap) + 2 + 12 * len(entries) + 4
    body, values = struct.pack(order + "H", len(entries)), b""
    for tag, kind, count, data in entries:
        inline = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack(order + "L", at + len(values))
        body += struct.pack(order + "HHL", tag, kind, count) + inline
        if len(data) > 4:
            values += data
    return head + gap + body + struct.pack(order + "L", 0) + values


def exif(orientation):
    return tiff(entry(orientation))


NO_TAG = tiff((0x0128, 3, 1, b"\0\2"))
OUTSIDE = (0x010F, 2, 40, b"outside!")  # says 40 bytes, there are 8

EXIFS = {
    "little endian": tiff(entry(6, order="<"), order="<"),
    "odd magic MM": tiff(entry(6), magic=b"MM*\0"),
    "odd magic II": tiff(entry(6, order="<"), order="<", magic=b"II\0*"),
    "big tiff": tiff(entry(6), magic=b"MM\0+"),
    "big tiff, little endian": tiff(entry(6, order="<"), order="<", magic=b"II+\0"),
    "no tiff": b"garbage, not a header",
    "half a header": b"MM\0*\0\0",
    "empty": b"",
    "prefixed": b"Exif\0\0" + exif(6),
    "prefixed twice": b"Exif\0\0Exif\0\0" + exif(6),
    "without the tag": NO_TAG,
    "directory elsewhere": tiff(entry(6), directory=11, gap=b"gap"),
    "directory outside": tiff(entry(6), directory=4000),
    "directory cut": exif(6)[:15],
    "no directory": exif(6)[:8],
    "no next pointer": exif(6)[:-4],
    "last of two": tiff(entry(3), entry(6)),
    "last of two is unknown": tiff(entry(6), entry(3, kind=99)),
    "two values": tiff(entry(6, count=2)),
    "three values": tiff(entry(6, count=3)),
    "no value": tiff((0x0112, 3, 0, b"\0\6")),
    "value outside before": tiff(OUTSIDE, entry(6)),
    "value outside after": tiff(entry(6), OUTSIDE),
    "enormous count": tiff((0x0112, 12, 0xFFFFFFFF, b"\0\0\0\6")),
    "sixty-six": exif(66),
    "rational, by zero": tiff((0x0112, 5, 1, struct.pack(">LL", 6, 0))),
    "rational, no whole number": tiff((0x0112, 5, 1, struct.pack(">LL", 13, 2))),
    "float, no whole number": tiff((0x0112, 11, 1, struct.pack(">f", 6.5))),
    "float, not a number": tiff((0x0112, 11, 1, struct.pack(">f", float("nan")))),
} | {f"type {kind}": tiff(entry(6, kind=kind)) for kind in [*UNITS, 14, 99]}


def attribute(orientation):
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation


def element(orientation):
    return b"<x:xmpmeta><tiff:Orientation>%d</tiff:Orientation></x:xmpmeta>" % orientation


XMPS = {
    "attribute": attribute(6),
    "element": element(6),
    "single quotes": b"<a tiff:Orientation='6'/>",
    "spaces": b'<a tiff:Orientation = "6"/>',
    "two digits": element(61),
    "first of two": element(3) + attribute(6),
    "no digit first": b'tiff:Orientation="" ' + attribute(6),
    "not utf-8": b"\xff\xfe" + attribute(6),
    "none": b"<x:xmpmeta/>",
    "empty": b"",
}

# --- PNG --------------------------------------------------------------------------------------------------------------

TURNED = noise(2, 3)


def chunk(kind, body, crc=None):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) if crc is None else crc)


def png_of(samples, depth, colour, before=b"", after=b"", between=b"", end=b"", interlaced=False):
    """A PNG of rows of packed samples, with chunks before, between and after its pixels."""
    height, width = samples.shape[:2]
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in samples]
    else:
        bits = np.unpackbits(samples.reshape(height, -1, 1).astype(np.uint8), axis=2)[:, :, 8 - depth :]
        rows = [np.packbits(row.reshape(-1)).tobytes() for row in bits]
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", data[:7]) + between + chunk(b"IDAT", data[7:])
    return b"\x89PNG\r\n\x1a\n" + header + before + pixels + after + chunk(b"IEND", b"") + end


def png(before=b"", **places):
    return png_of(TURNED, 8, 2, before, **places)


def raw_profile(data, newline=b"\n", line=72):
    digits = data.hex().encode()
    lines = [digits[i : i + line] for i in range(0, len(digits), line)]
    return newline.join([b"", b"exif", b"%8d" % len(data), *lines, b""])


RAW, XML = b"Raw profile type exif", b"XML:com.adobe.xmp"


def text(key, value):
    return chunk(b"tEXt", key + b"\0" + value)


def packed_text(key, value, method=0, pack=zlib.compress):
    return chunk(b"zTXt", key + b"\0" + bytes([method]) + pack(value))


def long_text(key, value, packed=0, method=0, pack=zlib.compress, language=b"", translated=b""):
    body = pack(value) if packed else value
    return chunk(b"iTXt", key + b"\0" + bytes([packed, method]) + language + b"\0" + translated + b"\0" + body)


def spoil(data):
    return data[:4] + bytes([data[4] ^ 0xFF]) + data[5:]


def wrong_sum(data):
    return data[:-4] + bytes(4)


def damaged(value):
    return spoil(zlib.compress(value))


def cut(value):
    return zlib.compress(value + bytes(rng.integers(0, 256, 400, dtype=np.uint8)))[:-100]


def make_png():
    for i in [0, *range(1, 10)]:
        files[f"png eXIf {i}"] = png(chunk(b"eXIf", exif(i)))
        files[f"png raw profile {i}"] = png(packed_text(RAW, raw_profile(b"Exif\0\0" + exif(i))))
        files[f"png xmp {i}"] = png(long_text(XML, attribute(i)))
    for name, data in EXIFS.items():
        files[f"png eXIf, {name}"] = png(chunk(b"eXIf", data))
        files[f"png eXIf and xmp, {name}"] = png(chunk(b"eXIf", data) + long_text(XML, attribute(8)))
    for name, data in XMPS.items():
        files[f"png xmp, {name}"] = png(long_text(XML, data))
    profile = raw_profile(exif(6))
    others = {
        "raw profile in tEXt": text(RAW, profile),
        "raw profile in iTXt": long_text(RAW, profile),
        "raw profile packed in iTXt": long_text(RAW, profile, packed=1),
        "raw profile, CRLF": text(RAW, raw_profile(exif(6), b"\r\n")),
        "raw profile, CR": text(RAW, raw_profile(exif(6), b"\r")),
        "raw profile, odd lines": text(RAW, raw_profile(exif(6), line=7)),
        "raw profile, odd lines, CRLF": text(RAW, raw_profile(exif(6), b"\r\n", line=7)),
        "raw profile, upper case, spaces": text(RAW, b"\nexif\n26\n " + exif(6).hex(" ").upper().encode()),
        "raw profile, half a byte": text(RAW, profile.rstrip() + b"a"),
        "raw profile, no hexadecimal": text(RAW, b"\nexif\n3\nxyz"),
        "raw profile, Latin-1": text(RAW, b"\nexif\n3\n\xe9\xe9"),
        "raw profile, three lines": text(RAW, b"\nexif\n0"),
        "raw profile, empty": text(RAW, b""),
        "raw profile, no value": chunk(b"tEXt", RAW),
        "raw profile, no value, packed": chunk(b"zTXt", RAW),
        "raw profile, empty, packed": chunk(b"zTXt", RAW + b"\0\0"),
        "raw profile, last of two": text(RAW, raw_profile(exif(3))) + packed_text(RAW, profile),
        "raw profile, damaged": packed_text(RAW, profile, pack=damaged),
        "raw profile, damaged after another": text(RAW, profile) + packed_text(RAW, profile, pack=damaged),
        "raw profile, cut": packed_text(RAW, profile, pack=cut),
        "raw profile, unknown method": packed_text(RAW, profile, method=1),
        "raw profile, too long": packed_text(RAW, b"0" * (2**20 + 1)),
        "raw profile of another name": text(b"Raw profile type APP1", profile),
        "raw profile and eXIf": text(RAW, profile) + chunk(b"eXIf", exif(3)),
        "raw profile and empty eXIf": text(RAW, profile) + chunk(b"eXIf", b""),
        "raw profile and xmp": text(RAW, profile) + long_text(XML, attribute(3)),
        "raw profile without the tag and xmp": text(RAW, raw_profile(NO_TAG)) + long_text(XML, attribute(3)),
        "eXIf and xmp": chunk(b"eXIf", exif(6)) + long_text(XML, attribute(3)),
        "eXIf 1 and xmp": chunk(b"eXIf", exif(1)) + long_text(XML, attribute(3)),
        "eXIf 0 and xmp": chunk(b"eXIf", exif(0)) + long_text(XML, attribute(3)),
        "last of two eXIf": chunk(b"eXIf", exif(3)) + chunk(b"eXIf", exif(6)),
        "eXIf, wrong checksum": wrong_sum(chunk(b"eXIf", exif(6))),
        "xmp, wrong checksum": wrong_sum(long_text(XML, attribute(6))),
        "exif in tEXt": text(b"exif", exif(6)),
        "exif in zTXt": packed_text(b"exif", exif(6)),
        "exif in iTXt": long_text(b"exif", b"6"),
        "exif in tEXt, then eXIf": text(b"exif", exif(3)) + chunk(b"eXIf", exif(6)),
        "xmp in tEXt": text(XML, attribute(6)),
        "xmp in zTXt": packed_text(XML, attribute(6)),
        "xmp packed": long_text(XML, attribute(6), packed=1),
        "xmp packed, damaged": long_text(XML, attribute(6), packed=1, pack=damaged),
        "xmp packed, cut": long_text(XML, attribute(6), packed=1, pack=cut),
        "xmp packed, unknown method": long_text(XML, attribute(6), packed=1, method=1),
        "xmp packed, too long": long_text(XML, attribute(6) + bytes(2**20), packed=1),
        "xmp, unknown method, not packed": long_text(XML, attribute(6), method=1),
        "xmp, language not utf-8": long_text(XML, attribute(6), language=b"\xff"),
        "xmp, cut before its text": chunk(b"iTXt", XML + b"\0\0\0en\0" + attribute(6)),
        "xmp, no text": chunk(b"iTXt", XML + b"\0\0"),
        "xmp not utf-8 after another": long_text(XML, attribute(3)) + long_text(XML, b"\xff" + attribute(6)),
        "xmp empty after another": long_text(XML, attribute(3)) + long_text(XML, b""),
        "xmp by a short name": text(b"xmp", attribute(6)),
        "xmp by both names": text(b"xmp", attribute(6)) + long_text(XML, attribute(3)),
        "xmp by a short name, empty": text(b"xmp", b""),
        "another text": text(b"Comment", attribute(6)),
    }
    for name, chunks in others.items():
        files[f"png {name}"] = png(chunks)
    six, three = chunk(b"eXIf", exif(6)), chunk(b"eXIf", exif(3))
    files["png eXIf after the pixels"] = png(after=six)
    files["png eXIf after the pixels, wrong checksum"] = png(after=wrong_sum(six))
    files["png eXIf between the pixels"] = png(between=six)
    files["png eXIf before and after"] = png(three, after=six)
    files["png xmp after the pixels"] = png(after=long_text(XML, attribute(6)))
    files["png raw profile after the pixels"] = png(after=text(RAW, profile))
    files["png eXIf after the end"] = png(end=six)

    def control(sequence):
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", sequence, 3, 2, 0, 0, 1, 10, 0, 0))

    def frame(sequence):
        data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in 255 - TURNED))
        return chunk(b"fdAT", struct.pack(">I", sequence) + data)

    def count(frames):
        return chunk(b"acTL", struct.pack(">II", frames, 0))

    moving = count(2) + control(0)
    files["apng eXIf before"] = png(six + moving, after=control(1) + frame(2))
    files["apng eXIf before the second frame"] = png(moving, after=six + control(1) + frame(2))
    files["apng eXIf after the second frame"] = png(moving, after=control(1) + frame(2) + six)
    files["apng of one frame, eXIf after"] = png(count(1) + control(0), after=six)
    files["apng of no frames, eXIf after"] = png(count(0), after=six)
    files["apng whose pixels are no frame"] = png(count(1), after=control(0) + frame(1) + six)
    files["apng counted twice"] = png(count(2) + count(2), after=six)


# --- JPEG -------------------------------------------------------------------------------------------------------------

PLAIN_JPEG = save(Image.fromarray(noise(8, 16)[..., 0]), "JPEG", quality=30, optimize=True)
XAP = b"http://ns.adobe.com/xap/1.0/\0"


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def app1(data):
    return segment(0xE1, b"Exif\0\0" + data)


def jpg(segments, resolution=True):
    """JFIF's segment with a resolution or without one, then the segments, then the rest."""
    jfif = segment(0xE0, b"JFIF\0\1\1" + (b"\1\0\x48\0\x48" if resolution else b"\0\0\1\0\1") + b"\0\0")
    return b"\xff\xd8" + jfif + segments + PLAIN_JPEG[20:]


def make_jpeg():
    assert PLAIN_JPEG[2:4] == b"\xff\xe0" and PLAIN_JPEG[4:6] == b"\0\x10"
    for i in range(10):
        files[f"jpg exif {i}"] = jpg(app1(exif(i)))
        files[f"jpg xmp {i}"] = jpg(segment(0xE1, XAP + element(i)))
    for name in ["little endian", "no tiff", "half a header", "big tiff", "empty", "prefixed", "value outside before"]:
        for resolution in [True, False]:
            words = f"{name}, {'with' if resolution else 'without'} resolution"
            files[f"jpg exif, {words}"] = jpg(app1(EXIFS[name]), resolution)
            files[f"jpg exif and xmp, {words}"] = jpg(app1(EXIFS[name]) + segment(0xE1, XAP + element(8)), resolution)
    for name, data in XMPS.items():
        files[f"jpg xmp, {name}"] = jpg(segment(0xE1, XAP + data))
    six, xmp = app1(exif(6)), segment(0xE1, XAP + attribute(3))
    others = {
        "exif and xmp": six + xmp,
        "xmp and exif": xmp + six,
        "exif 1 and xmp": app1(exif(1)) + xmp,
        "exif without the tag and xmp": app1(NO_TAG) + xmp,
        "exif in two parts": app1(exif(6)[:11]) + app1(exif(6)[11:]),
        "two exifs": six + app1(exif(3)),
        "two xmps": xmp + segment(0xE1, XAP + attribute(6)),
        "exif in APP2": segment(0xE2, b"Exif\0\0" + exif(6)),
        "exif of one NUL": segment(0xE1, b"Exif\0" + exif(6)),
        "xmp of another name": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + attribute(6)),
        "fill bytes": b"\xff\xff\xff" + six,
        "junk before": b"junk" + six,
        "junk with marks": b"a\xff\0b" + six,
        "restart before": b"\xff\xd3" + six,
        "comment before": segment(0xFE, b"hello") + six,
        "empty segment before": segment(0xE5, b"") + six,
    }
    for name, segments in others.items():
        files[f"jpg {name}"] = jpg(segments)
    files["jpg without JFIF"] = b"\xff\xd8" + six + PLAIN_JPEG[20:]
    files["jpg exif before JFIF"] = b"\xff\xd8" + app1(b"no tiff here") + jpg(b"")[2:]
    scan = PLAIN_JPEG.index(b"\xff\xda")
    files["jpg exif right before the scan"] = PLAIN_JPEG[:scan] + six + PLAIN_JPEG[scan:]
    files["jpg exif after the picture"] = PLAIN_JPEG + six
    files["jpg bytes after the picture"] = PLAIN_JPEG + b"more of it"
    files["jpg padding before the end"] = PLAIN_JPEG[:-2] + b"\0\0\0" + PLAIN_JPEG[-2:]
    files["jpg unknown JFIF version"] = jpg(b"").replace(b"JFIF\0\1\1", b"JFIF\0\3\1")
    parameters = scan + 2 + struct.unpack(">H", PLAIN_JPEG[scan + 2 : scan + 4])[0] - 3
    files["jpg odd scan parameters"] = PLAIN_JPEG[:parameters] + b"\0\0\0" + PLAIN_JPEG[parameters + 3 :]


# --- WebP -------------------------------------------------------------------------------------------------------------


def riff(kind, body):
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


PLAIN_WEBP = save(Image.fromarray(TURNED), "WEBP", lossless=True)


def webp(chunks=b"", flags=0, before=b""):
    extended = riff(b"VP8X", bytes([flags, 0, 0, 0, 2, 0, 0, 1, 0, 0]))
    body = b"WEBP" + extended + before + PLAIN_WEBP[12:] + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


def make_webp():
    assert PLAIN_WEBP[12:16] == b"VP8L"
    for i in range(10):
        files[f"webp exif {i}"] = webp(riff(b"EXIF", exif(i)), 8)
        files[f"webp xmp {i}"] = webp(riff(b"XMP ", attribute(i)), 4)
    for name in ["little endian", "no tiff", "half a header", "big tiff", "empty", "prefixed", "value outside before"]:
        files[f"webp exif, {name}"] = webp(riff(b"EXIF", EXIFS[name]), 8)
        files[f"webp exif and xmp, {name}"] = webp(riff(b"EXIF", EXIFS[name]) + riff(b"XMP ", attribute(8)), 12)
    for name, data in XMPS.items():
        files[f"webp xmp, {name}"] = webp(riff(b"XMP ", data), 4)
    six, three, xmp = riff(b"EXIF", exif(6)), riff(b"EXIF", exif(3)), riff(b"XMP ", attribute(8))
    files["webp exif and xmp"] = webp(six + xmp, 12)
    files["webp exif without the tag and xmp"] = webp(riff(b"EXIF", NO_TAG) + xmp, 12)
    files["webp exif not announced"] = webp(six, 0)
    files["webp xmp not announced"] = webp(riff(b"EXIF", NO_TAG) + xmp, 8)
    files["webp exif before the pixels"] = webp(flags=8, before=six)
    files["webp two exifs"] = webp(six + three, 8)
    files["webp unknown chunk before exif"] = webp(riff(b"ABCD", b"odd") + six, 8)
    files["webp exif in a simple file"] = b"RIFF" + struct.pack("<I", len(PLAIN_WEBP) - 8 + len(six)) + PLAIN_WEBP[8:] + six
    files["webp exif after its end"] = webp(flags=8) + six


# --- Kinds of pixels --------------------------------------------------------------------------------------------------


def make_kinds():
    palette = chunk(b"PLTE", noise(1, 16).tobytes())
    for depth in [1, 2, 4, 8, 16]:
        top = min(2**depth, 16 if depth == 8 else 2**16)
        grey = rng.integers(0, 2**depth, (3, 5))
        if depth < 16:  # 16 bits of grey are read otherwise on purpose
            files[f"png grey {depth}"] = png_of(grey, depth, 0)
            files[f"png grey {depth}, transparent"] = png_of(grey, depth, 0, chunk(b"tRNS", struct.pack(">H", grey[0, 0])))
            used = rng.integers(0, min(top, 16), (3, 5))
            short = palette if depth >= 4 else chunk(b"PLTE", noise(1, top).tobytes())
            files[f"png palette {depth}"] = png_of(used, depth, 3, short)
            files[f"png palette {depth}, transparent"] = png_of(used, depth, 3, short + chunk(b"tRNS", b"\0\x80"))
        if depth >= 8:
            for name, colour, channels in [("grey and alpha", 4, 2), ("rgb", 2, 3), ("rgb and alpha", 6, 4)]:
                files[f"png {name} {depth}"] = png_of(rng.integers(0, 2**depth, (3, 5, channels)), depth, colour)
    gamma = chunk(b"gAMA", struct.pack(">I", 100000))
    files["png gamma"] = png_of(noise(3, 5), 8, 2, gamma)
    files["png chromaticities"] = png_of(noise(3, 5), 8, 2, gamma + chunk(b"cHRM", struct.pack(">8I", *[30000] * 8)))
    files["png background"] = png_of(noise(3, 5, 4), 8, 6, chunk(b"bKGD", struct.pack(">3H", 255, 0, 0)))
    files["png significant bits"] = png_of(noise(3, 5), 8, 2, chunk(b"sBIT", b"\5\6\5"))
    files["png damaged profile"] = png_of(noise(3, 5), 8, 2, chunk(b"iCCP", b"a\0\0" + zlib.compress(b"no profile")))

    rgb = Image.fromarray(noise(16, 16))
    smooth = rgb.resize((21, 13), Image.Resampling.BICUBIC)
    for name, subsampling in [("444", 0), ("422", 1), ("420", 2)]:
        files[f"jpg {name}"] = save(smooth, "JPEG", quality=60, subsampling=subsampling, optimize=True)
    files["jpg progressive"] = save(smooth, "JPEG", quality=60, progressive=True)
    files["jpg kept as rgb"] = save(smooth, "JPEG", quality=60, keep_rgb=True, optimize=True)
    files["jpg restarts"] = save(smooth, "JPEG", quality=60, restart_marker_blocks=1, optimize=True)
    files["jpg grey"] = save(smooth.convert("L"), "JPEG", quality=60, optimize=True)
    cmyk = Image.fromarray(noise(5, 6, 4), "CMYK").resize((19, 11), Image.Resampling.BICUBIC)
    inverted = save(cmyk, "JPEG", quality=60, optimize=True)
    files["jpg cmyk"] = inverted
    files["jpg cmyk progressive"] = save(cmyk, "JPEG", quality=60, progressive=True)
    assert inverted[2:4] == b"\xff\xee"
    files["jpg cmyk without Adobe's mark"] = inverted[:2] + inverted[18:]
    files["jpg ycck"] = inverted[:17] + b"\2" + inverted[18:]
    files["jpg cmyk of an unknown transform"] = inverted[:17] + b"\7" + inverted[18:]
    files["jpg cmyk turned"] = inverted[:18] + app1(exif(6)) + inverted[18:]
    three = save(smooth, "JPEG", quality=60, optimize=True)
    for transform in [0, 1, 7]:
        mark = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
        files[f"jpg Adobe's transform {transform}"] = b"\xff\xd8" + mark + three[20:]
    files["jpg components named RGB"] = three.replace(b"\3\1\x22\0\2\x11\1\3\x11\1", b"\3R\x22\0G\x11\1B\x11\1").replace(
        b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11", b"\xff\xda\0\x0c\3R\0G\x11B\x11"
    )

    alpha = Image.fromarray(noise(4, 6, 4))
    wide = smooth.copy()
    wide.putalpha(Image.linear_gradient("L").resize(wide.size))
    for name, picture in {"rgb": smooth, "rgb and alpha": wide}.items():
        files[f"webp lossy, {name}"] = save(picture, "WEBP", quality=40)
    files["webp lossless and alpha"] = save(alpha, "WEBP", lossless=True, exact=True)
    moving = save(alpha, "WEBP", lossless=True, exact=True, save_all=True, append_images=[Image.fromarray(noise(4, 6, 4))])
    files["webp animated, alpha"] = moving
    opaque = [Image.fromarray(noise(4, 6)) for _ in range(2)]
    files["webp animated"] = save(opaque[0], "WEBP", lossless=True, save_all=True, append_images=opaque[1:])
    files["png animated"] = save(opaque[0], "PNG", save_all=True, append_images=opaque[1:])
    part = riff(b"ANMF", bytes([1, 0, 0, 1, 0, 0, 2, 0, 0, 1, 0, 0, 9, 0, 0, 0]) + PLAIN_WEBP[12:])
    for name, flags in [("", 2), (" and alpha", 18)]:
        body = b"WEBP" + riff(b"VP8X", bytes([flags, 0, 0, 0, 6, 0, 0, 4, 0, 0])) + riff(b"ANIM", bytes([9, 99, 200, 255, 0, 0]))
        body += part + part
        files[f"webp animated, a first frame of a part{name}"] = b"RIFF" + struct.pack("<I", len(body)) + body


def verdict(data):
    try:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    except Exception:  # whatever Pillow ends with
        return None
    return {"width": picture.width, "height": picture.height, "rgb": base64.b64encode(picture.tobytes()).decode()}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for make in [make_png, make_jpeg, make_webp, make_kinds]:
        make()
    lines = []
    for name, data in files.items():
        value = {"file": base64.b64encode(data).decode(), "picture": verdict(data)}
        lines.append(f"{json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}")
    (HERE / "pictures.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
