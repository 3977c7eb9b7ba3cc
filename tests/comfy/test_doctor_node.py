"""DWPose Doctor in ComfyUI: the report, and mends that can be done there."""

from __future__ import annotations

import math
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "web" / "doctor.js"


def test_the_report_tells_what_would_run_and_how_to_mend(pack, models_folder, management):
    doctor = pack("nodes.doctor")
    output = doctor.Doctor.execute()
    [text] = output.args
    assert output.ui == {"text": (text,)}
    assert str(models_folder) in text
    assert "device" in text
    assert "torch" in text
    # ComfyUI has no command line of ours.
    assert "dwpose models fetch" not in text
    assert "auto would use" not in text
    assert "download_if_missing" in text


def test_the_network_is_asked_only_on_demand(pack, models_folder, management, monkeypatch):
    asked = []
    library = pack("dwpose.doctor")
    real = library.report

    def report(folder, *, network, **options):
        asked.append(network)
        return real(folder, network=False, **options)

    monkeypatch.setattr(library, "report", report)
    node = pack("nodes.doctor").Doctor
    node.execute()
    node.execute(ask_the_hub=True)
    assert asked == [False, True]


def test_it_looks_anew_every_time(pack):
    assert math.isnan(pack("nodes.doctor").Doctor.fingerprint_inputs(ask_the_hub=False))


def test_mends_are_put_in_comfyuis_words(pack):
    mend = pack("nodes.doctor")._mend
    assert mend("  mend: dwpose models fetch dw-ll-384 yolox-l").startswith("  mend: use Load DWP")
    assert "dw-ll-384 yolox-l" in mend("  mend: dwpose models fetch dw-ll-384 yolox-l")
    assert (
        "run" not in mend("  mend: delete it and run `dwpose models fetch yolox-l`").split("use")[0]
    )
    assert mend("  mend: pip install onnxruntime") == "  mend: pip install onnxruntime"


def test_a_cut_off_file_is_a_fault_in_whichever_folder(
    pack, folder_paths, models_folder, management
):
    other = models_folder.parent / "other"
    other.mkdir()
    folder_paths.folder_names_and_paths["dwpose"] = ([str(other)], set())
    for folder, name in ((other, "yolox_l.onnx"), (models_folder, "dw-ll_ucoco_384.onnx")):
        (folder / name).write_bytes(b"x" * 1000)
    [text] = pack("nodes.doctor").Doctor.execute().args
    for id, bytes in (("yolox-l", 216746733), ("dw-ll-384", 134399116)):
        assert text.count(f" is not {id}: 1000 bytes instead of {bytes}") == 1
