"""A writer of SoundFont 2 files, after the specification's section 7 alone."""

import struct
from pathlib import Path


FINE_TUNE, COARSE_TUNE, SAMPLE, MODES, ROOT, INSTRUMENT = 52, 51, 53, 54, 58, 41
MONO, RIGHT, LEFT = 1, 2, 4


def write_bank(path: Path, samples, instruments, presets) -> Path:
    """Writes a bank.

    Args:
        path: of the file.
        samples: (name, int16 array, rate, loop, key, cents, type) of each; the loop is
            relative to the sample.
        instruments: lists of zones; a zone is a list of (generator, amount).
        presets: (name, program, bank, zones).
    """
    pcm, headers = b"", b""
    for name, data, rate, loop, key, cents, kind in samples:
        at = len(pcm) // 2
        spots = at, at + len(data), at + loop[0], at + loop[1], rate
        headers += struct.pack("<20s5IBbHH", name, *spots, key, cents, 0, kind)
        pcm += data.astype("<i2").tobytes() + bytes(2 * 46)
    headers += struct.pack("<20s5IBbHH", b"EOS", *[0] * 9)
    ibag, igen, marks = _zones(instruments)
    inst = b"".join(struct.pack("<20sH", b"I%d" % i, m) for i, m in enumerate(marks))
    pbag, pgen, marks = _zones([zones for *_, zones in presets])
    named = [(name, program, bank) for name, program, bank, _ in presets]
    phdr = b"".join(
        struct.pack("<20sHHHIII", *header, mark, 0, 0, 0)
        for header, mark in zip([*named, (b"EOP", 0, 0)], marks, strict=True)
    )
    parts = {"phdr": phdr, "pbag": pbag, "pmod": bytes(10), "pgen": pgen, "inst": inst}
    parts |= {"ibag": ibag, "imod": bytes(10), "igen": igen, "shdr": headers}
    body = b"sfbk"
    # An odd size, to be filled up by a byte that does not count.
    body += _chunk("LIST", b"INFO" + _chunk("INAM", b"odd"))
    body += _chunk("LIST", b"sdta" + _chunk("smpl", pcm))
    body += _chunk("LIST", b"pdta" + b"".join(_chunk(*part) for part in parts.items()))
    path.write_bytes(_chunk("RIFF", body))
    return path


def _zones(owners):
    """Bags, generators and the first bag of every owner, with their end marks."""
    bags, generators, marks = b"", b"", []
    for zones in owners:
        marks.append(len(bags) // 4)
        for zone in zones:
            bags += struct.pack("<HH", len(generators) // 4, 0)
            generators += b"".join(struct.pack("<Hh", *pair) for pair in zone)
    marks.append(len(bags) // 4)
    bags += struct.pack("<HH", len(generators) // 4, 0)
    return bags, generators + struct.pack("<Hh", 0, 0), marks


def _chunk(name: str, data: bytes) -> bytes:
    return name.encode() + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
