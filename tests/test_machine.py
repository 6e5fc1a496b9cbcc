"""The machine's name, by which a record says where it was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from dip_lib.machine import cpu_name


def test_the_processor_is_named_as_the_system_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\nmodel name\t: AMD\n")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert cpu_name(listed) == "AMD EPYC, 2 cores"
    monkeypatch.setattr("platform.processor", lambda: "Intel64 Family 6, GenuineIntel")
    assert cpu_name(tmp_path / "not Linux") == "Intel64 Family 6, GenuineIntel, 2 cores"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert cpu_name(tmp_path / "unknown") == "CPU, 2 cores"
