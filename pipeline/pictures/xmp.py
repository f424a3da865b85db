"""XMP: titles, captions, keywords, ratings, rights and history of a picture, as a small RDF document.

From an untrusted document, only namespaces that describe the picture are kept. Properties of the photograph's file
(pixels, previews, raw settings, depth and gain maps, positions of faces) would be wrong for a painting.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard
from xml.dom.minidom import Document, Element, parseString
from xml.parsers.expat import ExpatError

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_MEDIA = "http://ns.adobe.com/xap/1.0/mm/"
_EVENT = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_IPTC, _IPTC_MORE = "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_EXIF, _EXIF_MORE = "http://ns.adobe.com/exif/1.0/", "http://cipa.jp/exif/1.0/"
_TIFF, _AUX = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/aux/"
_PLUS, _LICENSE = "http://ns.useplus.org/ldf/xmp/1.0/", "http://creativecommons.org/ns#"
_LIGHTROOM, _MICROSOFT = "http://ns.adobe.com/lightroom/1.0/", "http://ns.microsoft.com/photo/1.0/"
_XMLNS = "http://www.w3.org/2000/xmlns/"

_DESCRIPTIVE = {
    *(_DC, _XMP, _RIGHTS, _MEDIA, _PHOTOSHOP, _IPTC, _IPTC_MORE, _EXIF, _EXIF_MORE, _TIFF, _AUX, _PLUS, _LICENSE),
    *(_LIGHTROOM, _MICROSOFT),
}
_OF_RIGHTS = {
    *((_DC, "creator"), (_DC, "rights")),
    *((_PHOTOSHOP, "Credit"), (_PHOTOSHOP, "Source"), (_PHOTOSHOP, "AuthorsPosition")),
}
_ALL_RIGHTS = {_RIGHTS, _PLUS, _LICENSE}
_OF_PLACES = {
    *((_PHOTOSHOP, "City"), (_PHOTOSHOP, "State"), (_PHOTOSHOP, "Country")),
    *((_IPTC, "Location"), (_IPTC, "CountryCode"), (_IPTC_MORE, "LocationShown"), (_IPTC_MORE, "LocationCreated")),
}
_OF_FILES = {
    *((_XMP, "Thumbnails"), (_MEDIA, "Pantry"), (_MEDIA, "Ingredients"), (_PHOTOSHOP, "DocumentAncestors")),
    *((_PHOTOSHOP, "ICCProfile"), (_PHOTOSHOP, "ColorMode"), (_PHOTOSHOP, "TextLayers"), (_EXIF, "PixelXDimension")),
    *((_EXIF, "PixelYDimension"), (_EXIF, "ColorSpace"), (_DC, "format"), (_EXIF, "MakerNote")),
    *((_TIFF, name) for name in ("Orientation", "ImageWidth", "ImageLength", "BitsPerSample", "Compression")),
    *((_TIFF, name) for name in ("PhotometricInterpretation", "SamplesPerPixel", "PlanarConfiguration")),
    *((_TIFF, name) for name in ("XResolution", "YResolution", "ResolutionUnit", "YCbCrSubSampling")),
}
_MOST_BYTES, _MOST_TAGS, _MOST_DEPTH = 1 << 22, 20_000, 64
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DANGEROUS = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)
_EMPTY = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="' + _RDF.encode() + b'"/></x:xmpmeta>'
_PACKET = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>', '<?xpacket end="w"?>'
_LISTS = {"subject": "Bag", "creator": "Seq"}  # of Dublin Core; all others are texts in languages


def chosen(block: bytes | None, *, places: bool, rights_only: bool = False) -> bytes | None:
    """A document of what a painting is to keep: without places, or of nothing but names and rights.

    Returns
    -------
    bytes or None
        None if nothing is left, or if the document is broken, or none that can be trusted.
    """
    document = _parsed(block)
    if document is None:
        return None
    _leave_nothing_but_descriptions(document)
    if not places:
        _drop_coordinates(document)
    for description in _descriptions(document):
        for child in [*description.childNodes]:
            if isinstance(child, Element) and not _is_kept(child, places=places, rights_only=rights_only):
                description.removeChild(child)
        for attribute in [*_attributes(description)]:
            kept = attribute.namespaceURI in (None, _RDF, _XMLNS) or _is_kept(
                attribute, places=places, rights_only=rights_only
            )
            if not kept:
                description.removeAttributeNode(attribute)
    return _written(document) if any(map(_says_something, _descriptions(document))) else None


def with_texts(block: bytes | None, texts: Mapping[str, Sequence[str]]) -> bytes | None:
    """A document that also says these, by the names in `iptc.NAMES`, where it says nothing under that name itself."""
    if not texts:
        return block
    document = _parsed(block) or _parsed(_EMPTY)
    assert document is not None  # our own
    added = _new_description(document)
    for name, stored in texts.items():
        values = [_NO_XML.sub("", value) for value in stored]  # old programs end texts with NUL
        space, prefix = (_PHOTOSHOP, "photoshop") if name[0].isupper() else (_DC, "dc")
        if not any(_has(description, space, name) for description in _descriptions(document)):
            added.appendChild(_property(document, space, f"{prefix}:{name}", values))
    return _written(document)


def with_event(block: bytes | None, agent: str, parameters: str, when: str) -> bytes:
    """A document whose history ends with one more event: this program derived the picture, so, on that day."""
    document = _parsed(block) or _parsed(_EMPTY)
    assert document is not None  # our own
    history = _history(document)
    item = document.createElementNS(_RDF, "rdf:li")
    item.setAttributeNS(_RDF, "rdf:parseType", "Resource")
    item.setAttributeNS(_XMLNS, "xmlns:rdf", _RDF)
    for name, value in (("action", "derived"), ("softwareAgent", agent), ("parameters", parameters), ("when", when)):
        part = _element(document, _EVENT, f"stEvt:{name}")
        part.appendChild(document.createTextNode(value))
        item.appendChild(part)
    history.appendChild(item)
    return _written(document)


def _parsed(block: bytes | None) -> Document | None:
    if not block or len(block) > _MOST_BYTES or block.count(b"<") > _MOST_TAGS:
        return None
    if _DANGEROUS.search(block) or b"\0" in block.strip(b"\0"):
        return None
    try:
        document = parseString(block.strip(b"\0 \t\r\n"))
    except (ExpatError, ValueError, AttributeError, RecursionError):
        return None
    is_sound = document.getElementsByTagNameNS(_RDF, "RDF") and _depth(document) <= _MOST_DEPTH
    return document if is_sound else None


def _depth(document: Document) -> int:
    depth, nodes = 0, list[Any](document.childNodes)
    while nodes and depth <= _MOST_DEPTH:
        depth, nodes = depth + 1, [child for node in nodes for child in node.childNodes]
    return depth


def _leave_nothing_but_descriptions(document: Document) -> None:
    """Take out whatever stands beside or above the statements about the picture."""
    node: Any = document.getElementsByTagNameNS(_RDF, "RDF")[0]
    for child in [*node.childNodes]:
        if isinstance(child, Element) and not _is(child, _RDF, "Description"):
            node.removeChild(child)
    while isinstance(node, Element):
        parent: Any = node.parentNode
        for other in [*parent.childNodes]:
            if other is not node:
                parent.removeChild(other)
        node = parent


def _drop_coordinates(document: Document) -> None:
    """Take out coordinates wherever they are."""
    for element in document.getElementsByTagName("*"):
        for attribute in _attributes(element):
            if _is_coordinate(attribute):
                element.removeAttributeNode(attribute)
        if _is_coordinate(element) and element.parentNode is not None:
            element.parentNode.removeChild(element)


def _is_coordinate(node: Any) -> bool:
    return bool(node.namespaceURI == _EXIF and node.localName.startswith("GPS"))


def _written(document: Document) -> bytes:
    element = document.documentElement
    assert element is not None
    text = re.sub(r"\n\s*\n", "\n", element.toxml())  # left by what was taken out
    return "\n".join((_PACKET[0], text, _PACKET[1])).encode()


def _descriptions(document: Document) -> list[Element]:
    """The statements about the picture itself."""
    roots = document.getElementsByTagNameNS(_RDF, "RDF")[:1]
    return [node for root in roots for node in root.childNodes if _is(node, _RDF, "Description")]


def _element(document: Document, space: str, name: str) -> Element:
    """An element that declares its own prefix, whatever it is put into."""
    made = document.createElementNS(space, name)
    made.setAttributeNS(_XMLNS, f"xmlns:{name.partition(':')[0]}", space)
    return made


def _new_description(document: Document) -> Element:
    root = document.getElementsByTagNameNS(_RDF, "RDF")[0]
    found = _element(document, _RDF, "rdf:Description")
    found.setAttributeNS(_RDF, "rdf:about", "")
    root.appendChild(found)
    return found


def _property(document: Document, space: str, name: str, values: Sequence[str]) -> Element:
    found, local = _element(document, space, name), name.partition(":")[2]
    if space != _DC:
        found.appendChild(document.createTextNode(values[0]))
        return found
    kind = _LISTS.get(local, "Alt")
    items = _element(document, _RDF, f"rdf:{kind}")
    for value in values if local in _LISTS else values[:1]:
        item = document.createElementNS(_RDF, "rdf:li")
        if kind == "Alt":
            item.setAttribute("xml:lang", "x-default")
        item.appendChild(document.createTextNode(value))
        items.appendChild(item)
    found.appendChild(items)
    return found


def _history(document: Document) -> Element:
    """The list of events; one is made if there is none."""
    for description in _descriptions(document):
        for node in description.childNodes:
            found = [each for each in node.childNodes if _is(each, _RDF, "Seq")] if _is(node, _MEDIA, "History") else []
            if found:
                return found[0]
    made, events = _element(document, _MEDIA, "xmpMM:History"), _element(document, _RDF, "rdf:Seq")
    made.appendChild(events)
    _new_description(document).appendChild(made)
    return events


def _is_kept(node: Any, *, places: bool, rights_only: bool) -> bool:
    name = (node.namespaceURI, node.localName)
    if rights_only:
        return name in _OF_RIGHTS or node.namespaceURI in _ALL_RIGHTS
    return node.namespaceURI in _DESCRIPTIVE and name not in _OF_FILES and (places or name not in _OF_PLACES)


def _is(node: Any, space: str, name: str) -> TypeGuard[Element]:
    return isinstance(node, Element) and (node.namespaceURI, node.localName) == (space, name)


def _has(description: Element, space: str, name: str) -> bool:
    return description.hasAttributeNS(space, name) or any(_is(node, space, name) for node in description.childNodes)


def _attributes(element: Element) -> list[Any]:
    return [element.attributes.item(index) for index in range(element.attributes.length)]


def _says_something(description: Element) -> bool:
    own = any(each.namespaceURI not in (None, _RDF, _XMLNS) for each in _attributes(description))
    return own or any(isinstance(node, Element) for node in description.childNodes)
