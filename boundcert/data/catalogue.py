"""The named data sets: what is in them, where their files lie, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """One downloadable file with the checksum that its bytes must have.

    ``member`` names the one file wanted out of a tar archive, ``member_digest`` is its SHA-256.
    """

    name: str
    url: str
    algorithm: str
    digest: str
    size: int
    member: str = ""
    member_digest: str = ""


@dataclass(frozen=True)
class NamedSet:
    """A named data set; ``folders`` are tried in order below a data folder, "" is the folder."""

    name: str
    samples: int
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    remote: tuple[RemoteFile, ...] = ()


DIGITS = tuple("0123456789")
CLOTHES = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
THINGS = "airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"
IMAGES, LABELS = "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
UCI_URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/"


def _idx(
    name: str, classes: tuple[str, ...], folders: tuple[str, ...], *remote: RemoteFile
) -> NamedSet:
    return NamedSet(name, 10_000, (1, 28, 28), classes, (IMAGES, LABELS), (*folders, ""), remote)


def _uci(
    name: str, samples: int, features: int, classes: tuple[str, ...], sha: str, size: int
) -> NamedSet:
    file = f"{name}.data"
    remote = RemoteFile(file, f"{UCI_URL}{name}/{file}", "sha256", sha, size)
    return NamedSet(name, samples, (features,), classes, (file,), ("uci", name, ""), (remote,))


# SHA-256 wherever we hold the file, MD5 where only that is published. The sums of the UCI files
# are those of the UCI originals; scikit-learn's corrected iris differs in three cells.
SETS: dict[str, NamedSet] = {
    entry.name: entry
    for entry in (
        NamedSet("digits", 500, (1, 8, 8), DIGITS),  # shipped in boundcert.demo
        _idx(
            "mnist",
            DIGITS,
            ("MNIST/raw", "mnist/raw"),
            RemoteFile(
                IMAGES,
                MNIST_URL + IMAGES,
                "sha256",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                1_648_877,
            ),
            RemoteFile(
                LABELS,
                MNIST_URL + LABELS,
                "sha256",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                4_542,
            ),
        ),
        _idx(
            "fashion-mnist",
            tuple(CLOTHES.split(", ")),
            ("FashionMNIST/raw", "fashion-mnist/raw"),
            RemoteFile(
                IMAGES, FASHION_URL + IMAGES, "md5", "bef4ecab320f06d8554ea6380940ec79", 4_422_102
            ),
            RemoteFile(
                LABELS, FASHION_URL + LABELS, "md5", "bb300cfdad3c16e7a12a480ee83cd310", 5_148
            ),
        ),
        NamedSet(
            "cifar10",
            10_000,
            (3, 32, 32),
            tuple(THINGS.split(", ")),
            ("test_batch",),
            ("cifar-10-batches-py", ""),
            (
                RemoteFile(
                    "cifar-10-python.tar.gz",
                    CIFAR_URL + "cifar-10-python.tar.gz",
                    "md5",
                    "c58f30108f718f92721af3b95e74349a",
                    170_498_071,
                    "cifar-10-batches-py/test_batch",
                    "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831",
                ),
            ),
        ),
        _uci(
            "iris",
            150,
            4,
            ("Iris-setosa", "Iris-versicolor", "Iris-virginica"),
            "6f608b71a7317216319b4d27b4d9bc84e6abd734eda7872b71a458569e2656c0",
            4_551,
        ),
        _uci(
            "wine",
            178,
            13,
            ("1", "2", "3"),
            "6be6b1203f3d51df0b553a70e57b8a723cd405683958204f96d23d7cd6aea659",
            10_782,
        ),
        _uci(
            "spambase",
            4_601,
            57,
            ("not spam", "spam"),
            "ebec58cfca94ea61c77df632314acae15bad410f4769d38b1a66cb41050e3431",
            698_341,
        ),
    )
}


def names() -> tuple[str, ...]:
    """Names that ``load_data`` knows."""
    return tuple(SETS)
