"""Simple properties in an XMP packet (ISO 16684-1): read, replaced, everything else kept. Knows no picture."""

from collections.abc import Iterator, Mapping
from xml.dom import minidom
from xml.parsers.expat import ExpatError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MOST = 256 * 1024
"""Bytes of a packet that are looked at."""
_DEEPEST = 40
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)

Name = tuple[str, str, str]
"""Namespace, preferred prefix and local name of a property."""
AIGC: Name = ("http://www.tc260.org.cn/ns/AIGC/1.0/", "TC260", "AIGC")
"""The label of GB 45438 (practice guide TC260-PG-20259A)."""


def read(packet: bytes | None, name: Name) -> str | None:
    """The value of a property, in element or attribute form, or None; a packet that is no XML has none."""
    document = parsed(packet)
    if document is None:
        return None
    space, _, local = name
    for element in _elements(document):
        if element.hasAttributeNS(space, local):
            return str(element.getAttributeNS(space, local))
        if (element.namespaceURI, element.localName) == (space, local):
            return words(element)
    return None


def put(packet: bytes | None, values: Mapping[Name, str | None]) -> bytes:
    """The packet with exactly these values of these properties (None: without); other properties stay.

    A packet that cannot be read is replaced by a new one.
    """
    document = parsed(packet) or minidom.parseString(_EMPTY.encode())
    roots = document.getElementsByTagNameNS(RDF, "RDF")
    if not roots:
        document = minidom.parseString(_EMPTY.encode())
        roots = document.getElementsByTagNameNS(RDF, "RDF")
    root = roots[0]
    for space, _, local in values:
        _remove(document, space, local)
    for (space, prefix, local), value in values.items():
        if value is None:
            continue
        about = document.createElementNS(RDF, f"{root.prefix}:Description" if root.prefix else "Description")
        about.setAttribute(f"xmlns:{prefix}", space)  # in the order in which a parser gives them back
        about.setAttributeNS(RDF, f"{root.prefix}:about" if root.prefix else "about", "")
        holder = document.createElementNS(space, f"{prefix}:{local}")
        holder.appendChild(document.createTextNode(value))
        about.appendChild(holder)
        root.appendChild(about)
    return "".join(node.toxml() for node in document.childNodes).encode()


def parsed(packet: bytes | None) -> minidom.Document | None:
    """XML within bounds, without declarations, not deep; None for anything else."""
    if not packet or len(packet) > MOST:
        return None
    try:
        text = packet.decode("utf-8").strip("\0 \r\n\t\ufeff")
        if "<!" in text:  # no declarations: they could define entities that grow without end
            return None
        document = minidom.parseString(text.encode())
    except (UnicodeDecodeError, ExpatError, ValueError):
        return None
    return document if _is_shallow(document) else None


def _is_shallow(document: minidom.Document) -> bool:
    """Whether what walks the tree by recursion can walk it."""
    level: list[minidom.Node] = [document]
    for _ in range(_DEEPEST):
        level = [child for node in level for child in node.childNodes]
    return not level


def _elements(document: minidom.Document) -> Iterator[minidom.Element]:
    yield from document.getElementsByTagName("*")


def words(element: minidom.Element) -> str:
    """The text in an element, or in those inside it."""
    texts = [node.data for node in element.childNodes if isinstance(node, minidom.Text)]
    inner = [words(node) for node in element.childNodes if isinstance(node, minidom.Element)]
    return "".join(inner) if inner else "".join(texts)


def _remove(document: minidom.Document, space: str, local: str) -> None:
    for element in list(_elements(document)):
        if element.hasAttributeNS(space, local):
            element.removeAttributeNS(space, local)
        if (element.namespaceURI, element.localName) == (space, local):
            about = element.parentNode
            if about is None:
                continue
            about.removeChild(element)
            if isinstance(about, minidom.Element) and _is_bare(about) and about.parentNode is not None:
                about.parentNode.removeChild(about)


def _is_bare(about: minidom.Element) -> bool:
    """Whether a description says nothing any more."""
    names = [str(name) for name, _ in about.attributes.items()]
    spoken = [name for name in names if not name.startswith("xmlns") and name.rpartition(":")[2] != "about"]
    held = [n for n in about.childNodes if not (isinstance(n, minidom.Text) and not n.data.strip())]
    return about.localName == "Description" and not spoken and not held
