"""What the columns of the page *Ask the data* are called, what they hold, and how precisely."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A setting or a measured quantity of a run.

    Args:
        name: in the address, in CSV files and in the frame of the book's pages.
        title: at the head of the column.
        about: what it is, where the title does not say it.
        per: of a measured quantity, in how many parts a unit is rounded; 0: a setting, kept whole.
    """

    name: str
    title: str
    about: str = ""
    per: int = 0


OF_HELD_OUT = (
    "Where a third of the base classes is held out, all accuracies are on validation images: base "
    "of the trained classes, new of the third."
)

SETTINGS = (
    Column("world", "World"),
    Column("study", "Study", "The file that holds the run; other studies may use it, too."),
    Column("method", "Method"),
    Column("dataset", "Dataset"),
    Column("target", "Evaluated on", "Of transfer: another dataset than the one trained on."),
    Column("style", "Style", "How Glyph World's characters are drawn."),
    Column("protocol", "Protocol"),
    Column("held_out", "Held-out third", f"0: none. {OF_HELD_OUT}"),
    Column("class_split", "Class split", "Which half is base: 0 the field's, 1 to 10 random ones."),
    Column("seed", "Seed", "0: nothing is drawn."),
    Column("shots", "Shots"),
    Column("backbone", "Tower", "The CLIP, named by its image encoder."),
    Column("lr", "Learning rate"),
    Column("epochs", "Epochs"),
    Column("rank", "Rank", "Of the update A B; none: no update, or one that is not factored."),
    Column("dropout", "Dropout"),
    Column("length", "Length", "Number of prompt vectors."),
    Column("weight", "Weight", "Of the method's regulariser, in its own units."),
    Column("context", "Words", "From which the prompt starts; none: random vectors."),
    Column("batch", "Batch"),
    Column("weight_decay", "Weight decay"),
    Column("views", "Views", "Augmented copies of a training image."),
    Column("precision", "Precision", "Of the frozen CLIP."),
    Column("site", "Site", "What dropout drops: of the update entries, rows or columns."),
    Column("depth", "Depth", "Blocks with prompts."),
    Column("keep", "Prompts kept, %", "After condensing; 0: the prompts are trained here."),
    Column("ranking", "Ranking", "Of prompts, over all blocks or in each."),
    Column("tuned", "Trained on", "Epochs after condensing."),
    Column("p0", "P0", "Whether the update A B is added to what the prompt starts from."),
    Column("tokens", "Tokens", "From which SPT's prompts start."),
    Column("start", "Start", "Of CVPT: whose shape bounds the prompts' first values."),
    Column("bias", "Biases", "Of CVPT: those of values and output of its cross-attention."),
    Column("prompt_dropout", "Prompt dropout", "Of CVPT: of entries of an image's prompts."),
    Column("drop_path", "Drop path", "Of CVPT: of a branch of the last block for an image."),
    Column("origin", "Origin", "Of the control: what the prompt starts from."),
    Column("held", "Density held", "Of the control: whether density is kept in training."),
    Column("density", "Density wanted", "Of the control; 0: the start's."),
    Column("loss_scale", "Loss scale", "Of the control."),
    Column("status", "Status", "A run that stopped ends with its last checkpoint."),
)
MEASURED = (
    Column("base", "Base, %", f"Accuracy on base classes. {OF_HELD_OUT}", 100),
    Column("new", "New, %", f"Accuracy on new classes. {OF_HELD_OUT}", 100),
    Column("h", "H", "Harmonic mean of the run's base and new.", 100),
    Column("val", "Validation, %", "Accuracy on validation images of the trained classes.", 100),
    Column("id1", "ID₁", "Of the prompt; of visual prompts the mean over blocks.", 10_000),
    Column("id1_read", "ID₁ as read", "Of what the first block reads, centred.", 10_000),
    Column("joint", "Joint, %", "Accuracy among base and new names together.", 100),
    Column("ece", "ECE", "Expected calibration error, in points.", 100),
    Column("drift_words", "Drift, words", "Of the embeddings of arbitrary words.", 10_000),
    Column("drift_base", "Drift, base", "Of the embeddings of base classes.", 10_000),
    Column("drift_new", "Drift, new", "Of the embeddings of new classes.", 10_000),
    Column("update_norm", "Norm of update", "Frobenius norm of the prompt less its start.", 100),
    Column("loss", "Loss", "Of the last epoch, in training.", 100),
    Column("sharpness", "Sharpness", "Mean rise of the loss around the prompt, in nats.", 10_000),
    Column("trainable", "Trained", "Trainable parameters.", 1),
    Column("seconds", "Seconds", "Of one core; runs of one batch share its time.", 10),
    Column("memory_mb", "Memory, MB", "The most that the process held.", 1),
)
COLUMNS = (*SETTINGS, *MEASURED)

NO_COLUMN = frozenset(
    {"name", "vectors", "weights", "fingerprint", "target_fingerprint", "checkpoints"}
)
"""Settings that say what others do (``vectors`` is in ``length``), or how often was measured."""
