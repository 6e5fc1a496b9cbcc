"""A prompt for your own pictures: a folder of class folders in, a 2 kB file out.

Without a folder the script draws two: characters to train on, and others to name.
"""

import argparse
import tempfile
from pathlib import Path

from torchvision.transforms.v2.functional import to_pil_image

from dip_lib import PromptedClassifier, few_shot, load_dataset


def draw(folder: Path, classes: range) -> Path:
    """Write 32 pictures of each of some classes of Glyph World, a folder a class."""
    dataset = load_dataset("shapes")
    labels = dataset.labels("train").tolist()
    rows = sorted(r for r in few_shot(labels, shots=32, seed=1) if labels[r] in classes)
    batches = dataset.batches("train", rows=rows)  # (1, B, 3, S, S) each
    images = [image for batch in batches for image in batch[0]]
    for row, image in zip(rows, images, strict=True):
        path = folder / dataset.class_names[labels[row]] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(image).save(path)
    return folder


def percent_right(classifier: PromptedClassifier, folder: Path) -> float:
    """Percent of a folder's pictures that get the name of their class, of all there."""
    paths = sorted(folder.glob("*/*"))
    truth = [path.parent.name.replace("_", " ") for path in paths]
    guesses = classifier.predict(paths, sorted(set(truth)), top=1)
    right = [best == name for [(best, _)], name in zip(guesses, truth, strict=True)]
    return 100 * sum(right) / len(right)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("own", type=Path, nargs="?", help="holds a folder a class")
    parser.add_argument("new", type=Path, nargs="?", help="the same, of other classes")
    parser.add_argument("--backbone", help="default: a small one; or ViT-B-16, ...")
    parser.add_argument("--pretrained", help="weights of the backbone: openai, ...")
    parser.add_argument("--out", type=Path, default=Path("prompt.safetensors"))
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        own = given.own or draw(Path(scratch, "own"), range(8))
        new = given.new or given.own or draw(Path(scratch, "new"), range(32, 40))
        views = 4 if given.own else 0  # a photograph may be flipped, a character not
        backbone = given.backbone or ("photo-lite0" if given.own else "glyph-vit")

        classifier = PromptedClassifier(backbone, given.pretrained, views=views)
        classifier.fit(own)
        print("trained on", ", ".join(classifier.class_names))
        classifier.save(given.out)
        print(f"{given.out}: {given.out.stat().st_size} bytes")

        # the file holds no class names: any may be asked for
        loaded = PromptedClassifier.load(given.out)
        words = PromptedClassifier(loaded.clip, epochs=0).fit(own)  # zero-shot CLIP
        for name, each in (("the bare words", words), ("the prompt", loaded)):
            print(f"{name}: {percent_right(each, new):.1f} % of {new.name} named right")

        every = sorted({path.name.replace("_", " ") for path in new.iterdir()})
        for path in sorted(new.glob("*/*"))[::40]:
            [[(best, probability), *_]] = loaded.predict(path, every)
            print(f"{path.parent.name}: {best} ({probability:.2f})")


if __name__ == "__main__":
    main()
