"""A data set described for other people's tools, in Croissant 1.1 with the responsible-AI terms. Knows no records.

Vocabulary: MLCommons Croissant 1.1; `mlcroissant` validates the result in the tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


DATA_TYPES = {"text": "sc:Text", "image": "sc:ImageObject"}


def describe(
    *,
    name: str,
    sources: Sequence[str],
    licences: Sequence[str],
    credits: Sequence[str],
    parts: Mapping[str, str],
    checks: Sequence[str],
    files: Mapping[str, tuple[str, int]],
) -> dict[str, Any]:
    """The JSON-LD of a data folder; `parts` gives modalities, `files` the sha256 and size of each split's file."""
    looked = f"Records in which these checks found something were left out: {', '.join(checks)}."
    looked = looked if checks else "Not looked for."
    plain: dict[str, dict[str, Any]] = {
        name: {"extract": {"column": name}} for name in ("id", "licence", "credit", "source")
    }
    columns = any(file.endswith(".parquet") for file in files)  # a part is a column there, in JSON lines it is nested
    held: dict[str, dict[str, Any]] = {
        part: {"extract": {"column": part}}
        if columns
        else {"extract": {"column": "parts"}, "transform": {"jsonPath": f"$.{part}"}}
        for part in parts
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"spearhead-{name[:16]}",
        "description": "Records admitted by their licences and split by content hash. From " + ", ".join(sources) + ".",
        "version": "1.0.0",
        "license": list(licences),
        "creditText": "; ".join(credits),
        "citeAs": "; ".join(credits) or ", ".join(sources),
        "isLiveDataset": False,
        "rai:dataCollection": "Taken from the sources named in each record; none was collected for this data set.",
        "rai:personalSensitiveInformation": looked,
        "rai:dataReleaseMaintenancePlan": "A record can be withdrawn by its id; the next data set is without it.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file,
                "name": file,
                "contentUrl": file,
                "contentSize": f"{size} B",
                "encodingFormat": "application/x-parquet" if columns else "application/jsonlines",
                "sha256": sha,
            }
            for file, (sha, size) in files.items()
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": _stem(file),
                "name": _stem(file),
                "key": {"@id": f"{_stem(file)}/id"},
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"{_stem(file)}/{column}",
                        "name": column,
                        "dataType": DATA_TYPES[parts.get(column, "text")],
                        "source": {"fileObject": {"@id": file}, **place},
                    }
                    for column, place in {**plain, **held}.items()
                ],
            }
            for file in files
        ],
    }


def _stem(file: str) -> str:
    return file.rpartition(".")[0]
