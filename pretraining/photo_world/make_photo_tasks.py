"""Write the lists of Photo World's tasks for visual prompts, and the hashes of their photographs.

    python pretraining/photo_world/make_photo_tasks.py --data DATA

``DATA`` holds the datasets with the field's split files. Of the classes those with most test photos
are taken; of each as many training photos as make 1,000 in all, and as many test photos as the
least of them has, at most 2,000 in all; both in the order of the hashes of task and path. Labels go
round, so that the first 800 and the last 200 are even, too. Prints the hashes for ``tasks.toml``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path

from dip_lib.files import write_atomic
from photo_world.datasets import SPLITS, field_split
from photo_world.tasks import TASKS, TRAIN, VAL, Task, pictures

MOST_TESTED = 2000


def _by_class(entries: list[tuple[str, int]], salt: str) -> dict[int, list[str]]:
    """Label -> its photos, in the order of their hashes with the task's name."""
    found = defaultdict[int, list[str]](list)
    for path, label in entries:
        found[label].append(path)
    return {
        label: sorted(each, key=lambda path: hashlib.sha256(f"{salt}|{path}".encode()).digest())
        for label, each in found.items()
    }


def listed(task: Task, data: Path) -> dict[str, list[str]]:
    """What the list of a task holds."""
    names, files = field_split(task.dataset, data)
    tested = Counter(label for _, label in files["test"])
    most = sorted(tested, key=lambda label: (-tested[label], names[label]))[: task.classes]
    chosen = sorted(most, key=lambda label: names[label])
    few = min(min(tested[label] for label in chosen), MOST_TESTED // len(chosen))
    wanted = {"train": (TRAIN + VAL) // len(chosen), "test": few}
    found = {"names": [names[label] for label in chosen]}
    for split, count in wanted.items():
        of = _by_class(list(files[split]), task.name)
        found[split] = [of[label][i] for i in range(count) for label in chosen]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    data = parser.parse_args().data.resolve()
    for task in TASKS.values():
        text = json.dumps(listed(task, data), ensure_ascii=False, indent=0)
        write_atomic(SPLITS / task.paths, f"{text}\n".encode())
        hashes = [pictures(task, tuning, data).fingerprint for tuning in (False, True)]
        print(f"[{task.name}]", *hashes)


if __name__ == "__main__":
    main()
