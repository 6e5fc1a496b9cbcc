"""A prompt for your own pictures: a folder of class folders in, a file of about 2 kB out.

Without a folder the script draws two, of characters: one to train on, one of other characters.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torchvision.transforms.v2.functional import to_pil_image

from dip_lib import PromptedClassifier, few_shot
from dip_lib.data import load_dataset


def draw(folder: Path, classes: range) -> Path:
    """Write 32 pictures of each of some classes of Glyph World's shapes, a folder a class."""
    dataset = load_dataset("shapes")
    labels = dataset.labels("train").tolist()
    rows = sorted(row for row in few_shot(labels, shots=32, seed=1) if labels[row] in classes)
    images = [image for batch in dataset.batches("train", rows=rows) for image in batch[0]]
    for row, image in zip(rows, images, strict=True):
        path = folder / dataset.class_names[labels[row]].replace(" ", "_") / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(image).save(path)
    return folder


def class_name(folder: Path) -> str:
    return folder.name.replace("_", " ")


def percent_right(classifier: PromptedClassifier, folder: Path, names: Sequence[str]) -> float:
    """Percent of the pictures in class folders that get their folder's name, among ``names``."""
    paths = sorted(folder.glob("*/*"))
    best = [guesses[0][0] for guesses in classifier.predict(paths, names, top=1)]
    right = [name == class_name(path.parent) for path, name in zip(paths, best, strict=True)]
    return 100 * sum(right) / len(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="holds a folder of pictures a class")
    parser.add_argument("--new", type=Path, help="the same of other classes, to be named")
    parser.add_argument("--backbone", default="glyph-vit", help="for photographs: ViT-B-16")
    parser.add_argument("--pretrained", help="weights of the backbone, such as openai")
    parser.add_argument("--out", type=Path, default=Path("prompt.safetensors"))
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        own = given.folder or draw(Path(scratch, "own"), range(8))
        new = given.new or (own if given.folder else draw(Path(scratch, "new"), range(32, 40)))
        views = 4 if given.folder else 0  # a photograph may be flipped, a character may not

        classifier = PromptedClassifier(given.backbone, given.pretrained, views=views).fit(own)
        print("trained on", ", ".join(classifier.class_names))
        classifier.save(given.out)
        print(f"{given.out}: {given.out.stat().st_size} bytes")

        # the file holds no class names: any may be asked for
        loaded = PromptedClassifier.load(given.out)
        names = sorted(class_name(folder) for folder in new.iterdir() if folder.is_dir())
        words = PromptedClassifier(loaded.clip, epochs=0).fit(own)  # zero-shot CLIP
        for title, each in (("the bare words", words), ("the prompt", loaded)):
            print(f"{title}: {percent_right(each, new, names):.1f} % of the new classes' pictures")
        for path in sorted(new.glob("*/*"))[::40]:
            ((best, *_),) = loaded.predict(path, names)
            print(f"{class_name(path.parent)}: {best[0]} ({best[1]:.2f})")


if __name__ == "__main__":
    main()
