"""Damage that report documents have been seen with: rows lost or doubled, columns renamed, a wrong charset, a cut."""

import gzip
import random
from collections.abc import Callable

KINDS = (
    "rows_lost",
    "doubled",
    "two_members",
    "shuffled",
    "quantities_scaled",
    "column_renamed",
    "column_added",
    "mislabelled",
    "undecodable",
    "cut",
    "carriage_returns",
    "empty",
)
QUANTITY_COLUMNS = ("quantity", "Quantity Available")


def damage(document: bytes, kind: str, *, share: float = 0.5, seed: int = 0) -> tuple[bytes, str]:
    """Damage a report document.

    :param document: UTF-8 text with a header, lines ending in CR LF
    :param kind: one of `KINDS`
    :param share: of the rows that are lost, scaled (as a factor), or of the bytes that are left by a cut
    :param seed: makes the choice of rows repeatable
    :return: the document and the charset that its download names
    """
    header, *rows = document.removesuffix(b"\r\n").split(b"\r\n")
    chance = random.Random(seed)
    charset = "UTF-8"

    def joined(lines: list[bytes]) -> bytes:
        return b"".join(line + b"\r\n" for line in (header, *lines))

    def scaled() -> bytes:
        names = header.decode().split("\t")
        place = next(place for place, name in enumerate(names) if name in QUANTITY_COLUMNS)
        changed = []
        for row in rows:
            fields = row.split(b"\t")
            if fields[place].isdigit():
                fields[place] = str(int(int(fields[place]) * share)).encode()
            changed.append(b"\t".join(fields))
        return joined(changed)

    def renamed() -> bytes:
        names = header.decode().split("\t")
        place = chance.randrange(len(names))
        names[place] = f"renamed {names[place]}"
        return b"\t".join(map(str.encode, names)) + document[len(header) :]

    makers: dict[str, Callable[[], bytes]] = {
        "rows_lost": lambda: joined([row for row in rows if chance.random() >= share]),
        "doubled": lambda: joined(rows + rows),
        "two_members": lambda: gzip.compress(document) + gzip.compress(document),
        "shuffled": lambda: joined(chance.sample(rows, len(rows))),
        "quantities_scaled": scaled,
        "column_renamed": renamed,
        "column_added": lambda: header + b"\tnew\r\n" + b"".join(row + b"\tx\r\n" for row in rows),
        "mislabelled": lambda: document,
        "undecodable": lambda: joined([row + b"\x81" if chance.random() < share else row for row in rows]),
        "cut": lambda: document[: int(len(document) * share)],
        "carriage_returns": lambda: document.replace(b"\r\n", b"\r"),
        "empty": lambda: header + b"\r\n",
    }
    if kind not in makers:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(KINDS)}")
    if kind == "mislabelled":
        charset = "Cp1252"
    return makers[kind](), charset
